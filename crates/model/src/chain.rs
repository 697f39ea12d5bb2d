use std::error::Error;
use std::fmt;

/// Formats an error with all its sources in one line, for the log.
/// The error's own text does not repeat its source, and JSON logs show only that text.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a>(pub &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);

    impl fmt::Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|source| source as _)
        }
    }

    #[test]
    fn every_source_is_told() {
        let error = Layer(
            "the store is full",
            Some(Box::new(Layer("commit", Some(Box::new(Layer("no space", None)))))),
        );
        assert_eq!(Chain(&error).to_string(), "the store is full: commit: no space");
        assert_eq!(Chain(&Layer("alone", None)).to_string(), "alone");
    }
}
