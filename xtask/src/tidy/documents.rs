//! Messages of the binary must not name documents of this repository, because their readers have no checkout.
//!
//! Messages are the string literals of the code, and the doc comments that clap prints as help. Comments and other doc
//! comments may name documents, and so may a literal that begins with `../`: it is a path for the compiler.

use proc_macro2::{Delimiter, Literal, TokenStream, TokenTree};

use super::{Finding, SourceFile};

/// The folder of documents, and the extension of their names.
const FOLDER: &str = "docs/";
const EXTENSION: &str = ".md";

/// Derived traits of clap that make doc comments a help text.
const CLAP_TRAITS: &[&str] = &["Args", "Parser", "Subcommand", "ValueEnum"];

const REMEDY: &str = "say in the message what the document says: its readers have no checkout";

pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    files.iter().filter(|file| is_shipped(file)).flat_map(check_file).collect()
}

fn is_shipped(file: &SourceFile) -> bool {
    file.extension() == "rs" && file.path.starts_with("crates/") && file.path.contains("/src/")
}

fn check_file(file: &SourceFile) -> Vec<Finding> {
    let mut messages = Vec::new();
    match file.text.parse() {
        Ok(tokens) => collect(tokens, false, &mut messages),
        Err(error) => {
            let line = error.span().start().line;
            return vec![file.finding(line, format!("no Rust: {error}"), "mend the syntax")];
        }
    }
    messages.iter().filter_map(|message| check_message(file, message)).collect()
}

fn check_message(file: &SourceFile, message: &Literal) -> Option<Finding> {
    let text = message.to_string();
    let (at, name) = find(&text)?;
    let line = message.span().start().line + text[..at].matches('\n').count();
    Some(file.finding(line, format!("a document in a message ({name})"), REMEDY))
}

/// Collects the messages of `tokens`. If `is_help` is set, doc comments are messages too.
fn collect(tokens: TokenStream, is_help: bool, messages: &mut Vec<Literal>) {
    // The doc comments of the item that comes next, and whether clap reads them.
    let (mut docs, mut is_clap) = (Vec::new(), false);
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(sign) if sign.as_char() == '#' => {
                let is_inner = tokens.next_if(is_exclamation_mark).is_some();
                let Some(TokenTree::Group(attribute)) = tokens.peek() else { continue };
                let attribute = attribute.stream();
                if has_name(&attribute, "doc") {
                    docs.extend(literals(attribute).filter(|_| !is_inner));
                    tokens.next();
                } else {
                    is_clap |= has_name(&attribute, "derive") && derives_clap(attribute);
                }
            }
            TokenTree::Group(group) => {
                collect(group.stream(), is_help || is_clap, messages);
                if group.delimiter() == Delimiter::Brace {
                    end_item(&mut docs, &mut is_clap, is_help, messages);
                }
            }
            TokenTree::Punct(sign) if matches!(sign.as_char(), ';' | ',') => {
                end_item(&mut docs, &mut is_clap, is_help, messages);
            }
            TokenTree::Literal(literal) => messages.push(literal),
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
    }
    end_item(&mut docs, &mut is_clap, is_help, messages);
}

fn end_item(docs: &mut Vec<Literal>, is_clap: &mut bool, is_help: bool, messages: &mut Vec<Literal>) {
    if is_help || *is_clap {
        messages.append(docs);
    }
    docs.clear();
    *is_clap = false;
}

fn is_exclamation_mark(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(sign) if sign.as_char() == '!')
}

fn has_name(attribute: &TokenStream, name: &str) -> bool {
    matches!(attribute.clone().into_iter().next(), Some(TokenTree::Ident(first)) if first == name)
}

fn derives_clap(attribute: TokenStream) -> bool {
    attribute.into_iter().any(|token| match token {
        TokenTree::Group(group) => derives_clap(group.stream()),
        TokenTree::Ident(name) => CLAP_TRAITS.iter().any(|clap| name == clap),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

fn literals(tokens: TokenStream) -> impl Iterator<Item = Literal> {
    tokens.into_iter().filter_map(|token| match token {
        TokenTree::Literal(literal) => Some(literal),
        _ => None,
    })
}

/// Returns the first document that a literal names, and the byte position of its name in the literal's source
/// text.
fn find(text: &str) -> Option<(usize, &str)> {
    let (_, content) = text.split_once('"')?;
    if content.starts_with("../") {
        return None;
    }
    let is_of_path = |c: char| c.is_alphanumeric() || "_-./".contains(c);
    let skipped = text.len() - content.len();
    let mut names = content.split(|c| !is_of_path(c)).map(|name| name.trim_end_matches('.'));
    let name = names.find(|name| name.starts_with(FOLDER) || is_document(name))?;
    let at = content.find(name).expect("a part of it");
    Some((skipped + at, name))
}

/// Whether this is the file name of a document, without folders. The path of a URL is not a file of a
/// checkout.
fn is_document(name: &str) -> bool {
    name.strip_suffix(EXTENSION).is_some_and(|stem| !stem.is_empty() && !stem.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{brief, file};
    use super::*;

    #[track_caller]
    fn check_text(text: &str, expected: &[&str]) {
        let found = brief(&check(&[file("crates/a/src/b.rs", text)]));
        let expected: Vec<_> = expected
            .iter()
            .map(|found| {
                let (line, name) = found.split_once(' ').expect("a line and a name");
                format!("crates/a/src/b.rs:{line}: a document in a message ({name})")
            })
            .collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn finds_documents_in_strings() {
        check_text("error(\"see docs/api.md\");", &["1 docs/api.md"]);
        check_text("read(\"x\", \"which docs/api.md#x lists\");", &["1 docs/api.md"]);
        check_text("x!(\"\\\"see docs/\");", &["1 docs/"]);
        check_text("read(b\"docs/api.md\");", &["1 docs/api.md"]);
        check_text("#[error(\"see docs/api.md\")]\nstruct A;", &["1 docs/api.md"]);
    }

    #[test]
    fn finds_documents_without_their_folder() {
        check_text("error(\"operating.md says how\");", &["1 operating.md"]);
        check_text("error(\"see (api.md).\");", &["1 api.md"]);
        check_text("error(\"Look into wire-facts.md.\");", &["1 wire-facts.md"]);
        check_text("error(\"see README.md#start\");", &["1 README.md"]);
    }

    #[test]
    fn finds_documents_in_wrapped_and_raw_strings() {
        check_text("error(\n    \"first \\\n     docs/api.md\",\n);", &["3 docs/api.md"]);
        check_text("error(\"a\nb\napi.md\");", &["3 api.md"]);
        check_text("error(r\"see docs/api.md\");", &["1 docs/api.md"]);
        check_text("error(r#\"a \"quoted\" word\nof api.md\"#);", &["2 api.md"]);
    }

    #[test]
    fn finds_documents_in_the_help_of_clap() {
        let derives = ["Args", "Debug, clap::Args", "Parser", "Subcommand", "clap::ValueEnum"];
        for derive in derives {
            let of_field =
                format!("#[derive({derive})]\nstruct A {{\n    /// See docs/cli.md.\n    a: u8,\n}}");
            check_text(&of_field, &["3 docs/cli.md"]);
            let of_last = format!(
                "#[derive({derive})]\nenum A {{\n    A,\n    /// See cli.md.\n    #[arg(x)]\n    B\n}}"
            );
            check_text(&of_last, &["4 cli.md"]);
            let above = format!("/// See cli.md.\n#[derive({derive})]\nstruct A {{ a: u8 }}");
            check_text(&above, &["1 cli.md"]);
            let below = format!("#[derive({derive})]\n/// See cli.md.\nstruct A;");
            check_text(&below, &["2 cli.md"]);
            let inside = format!("mod a {{ #[derive({derive})] struct A {{ #[doc = \"cli.md\"] a: u8 }} }}");
            check_text(&inside, &["1 cli.md"]);
            let around = format!(
                "/// cli.md\nconst A: u8 = 1;\n#[derive({derive})]\nstruct A {{}}\n/// cli.md\nfn a() {{}}"
            );
            check_text(&around, &[]);
        }
    }

    #[test]
    fn leaves_comments_paths_and_urls() {
        check_text(
            "// \"docs/api.md\"\n/* \"api.md\" */\n//! docs/api.md\n/// Source: wire-facts.md#secret.\nfn a() {}",
            &[],
        );
        check_text("#[derive(Debug)]\nstruct A {\n    /// Source: wire-facts.md#secret.\n    a: u8,\n}", &[]);
        check_text("include_str!(\"../../docs/api.md\");", &[]);
        check_text("f(\"https://example.com/docs/api.md and a/docs/ and .md and amd\", 'a', 1.0);", &[]);
        let elsewhere = [file("crates/a/tests/b.rs", "\"docs/api.md\""), file("a.md", "see \"docs/api.md\"")];
        assert_eq!(brief(&check(&elsewhere)), [""; 0]);
    }

    #[test]
    fn a_file_that_is_no_rust_is_a_finding() {
        let found = brief(&check(&[file("crates/a/src/b.rs", "fn a() {\n\"docs/")]));
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
