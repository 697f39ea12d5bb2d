//! Numbers: the sender's text, except that whole numbers lose their exponents.

use super::{JsonError, JsonFault, Rewriter};

/// The most digits of a whole number that is written with an exponent. The largest integer that receivers read exactly
/// (128 bits) has 39. The limit keeps `1e999999999` from becoming a gigabyte.
pub const INTEGER_DIGITS_MAX: usize = 40;

impl Rewriter<'_> {
    pub(super) fn number(&mut self) -> Result<(), JsonError> {
        let source = self.source;
        let scanned = scan(&source.as_bytes()[self.position..]);
        let scanned = scanned.map_err(|length| JsonError::new(self.position + length, JsonFault::Number))?;
        let text = &source[self.position..self.position + scanned.length];
        match scanned.exponent_at {
            None => self.out.push_str(text),
            Some(at) => write_exponent_number(text, at, &mut self.out).map_err(|fault| self.fault(fault))?,
        }
        self.position += scanned.length;
        Ok(())
    }
}

struct Scanned {
    length: usize,
    exponent_at: Option<usize>,
}

/// Measures the number at the start of `bytes`. `Err` is the position of the first byte that cannot be part of a number.
fn scan(bytes: &[u8]) -> Result<Scanned, usize> {
    let at = |index: usize| bytes.get(index).copied();
    let digits = |from: usize| {
        let count = bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 { Err(from) } else { Ok(from + count) }
    };
    let mut length = usize::from(at(0) == Some(b'-'));
    // A number that starts with zero ends there: the next byte belongs to the following token.
    length = if at(length) == Some(b'0') { length + 1 } else { digits(length)? };
    if at(length) == Some(b'.') {
        length = digits(length + 1)?;
    }
    let exponent_at = matches!(at(length), Some(b'e' | b'E')).then_some(length);
    if let Some(exponent_at) = exponent_at {
        let is_signed = matches!(at(exponent_at + 1), Some(b'+' | b'-'));
        length = digits(exponent_at + 1 + usize::from(is_signed))?;
    }
    Ok(Scanned { length, exponent_at })
}

fn write_exponent_number(text: &str, exponent_at: usize, out: &mut String) -> Result<(), JsonFault> {
    let (mantissa, exponent) = (&text[..exponent_at], &text[exponent_at + 1..]);
    let unsigned = mantissa.strip_prefix('-');
    let sign = if unsigned.is_some() { "-" } else { "" };
    let (whole, fraction) =
        unsigned.unwrap_or(mantissa).split_once('.').unwrap_or((unsigned.unwrap_or(mantissa), ""));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        out.push_str(sign);
        out.push('0');
        return Ok(());
    }
    let significant = digits.trim_end_matches('0');
    // The number of zeros after `significant`; if it is negative, the number of decimal places.
    let zeros = exponent_value(exponent) - length(fraction) + length(digits) - length(significant);
    let Ok(zeros) = usize::try_from(zeros) else {
        out.push_str(text);
        return Ok(());
    };
    if zeros.saturating_add(significant.len()) > INTEGER_DIGITS_MAX {
        return Err(JsonFault::IntegerTooLong);
    }
    out.push_str(sign);
    out.push_str(significant);
    out.extend(std::iter::repeat_n('0', zeros));
    Ok(())
}

/// Text lengths fit in 32 bits here. For a larger exponent only the sign matters.
fn exponent_value(exponent: &str) -> i64 {
    const FAR: i64 = i64::MAX / 4;
    match exponent.parse::<i64>() {
        Ok(value) => value.clamp(-FAR, FAR),
        Err(_) if exponent.starts_with('-') => -FAR,
        Err(_) => FAR,
    }
}

fn length(text: &str) -> i64 {
    i64::try_from(text.len()).expect("a text in memory is shorter than 2^63 bytes")
}
