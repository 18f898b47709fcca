//! Configuration words by httpd's own rules (`ap_getword_conf`): white space separates, single or double quotes hold
//! together, a backslash before the quote or another backslash is dropped.

/// Takes the next word off `rest`; `None` at its end.
pub fn next(rest: &mut &[u8]) -> Option<Vec<u8>> {
    *rest = rest.trim_ascii_start();
    let first = *rest.first()?;
    let quote = matches!(first, b'"' | b'\'').then_some(first);
    let text = if quote.is_some() { &rest[1..] } else { *rest };
    let mut word = Vec::new();
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let ends = quote.map_or(byte.is_ascii_whitespace(), |quote| byte == quote);
        if ends {
            break;
        }
        let escapes = byte == b'\\'
            && text.get(at + 1).is_some_and(|&next| next == b'\\' || Some(next) == quote);
        at += usize::from(escapes);
        word.push(text[at]);
        at += 1;
    }
    let closed = usize::from(quote.is_some() && at < text.len());
    *rest = text[(at + closed).min(text.len())..].trim_ascii_start();
    Some(word)
}

/// The name and the value of an option.
pub type Pair = (Vec<u8>, Vec<u8>);

/// Takes the next `name=value` off `rest`. The value may be quoted, the pair as a whole may not. `Err` is the text
/// that is no pair.
pub fn next_pair(rest: &mut &[u8]) -> Option<Result<Pair, Vec<u8>>> {
    *rest = rest.trim_ascii_start();
    if rest.is_empty() {
        return None;
    }
    let end = rest.iter().position(|&byte| byte == b'=' || byte.is_ascii_whitespace());
    let is_name = |end: usize| end > 0 && rest[end] == b'=' && !matches!(rest[0], b'"' | b'\'');
    let Some(end) = end.filter(|&end| is_name(end)) else {
        return Some(Err(next(rest).unwrap_or_default()));
    };
    let name = rest[..end].to_vec();
    *rest = &rest[end + 1..];
    let value = match rest.first() {
        Some(byte) if !byte.is_ascii_whitespace() => next(rest).unwrap_or_default(),
        _ => Vec::new(),
    };
    Some(Ok((name, value)))
}

/// The text between quotes, for a message.
pub fn quoted(text: &[u8]) -> String {
    format!("'{}'", String::from_utf8_lossy(text))
}

/// Reads the options that end a line; `take` says `false` to a name it does not know.
///
/// # Errors
/// What is wrong, and what is expected; or what `take` says.
pub fn options(
    mut rest: &[u8],
    known: &str,
    mut take: impl FnMut(&[u8], &[u8]) -> Result<bool, String>,
) -> Result<(), String> {
    while let Some(pair) = next_pair(&mut rest) {
        let (name, value) = pair.map_err(|text| {
            let text = quoted(&text);
            format!("takes options as name=value, without blanks, not {text}; it knows {known}")
        })?;
        if value.is_empty() {
            return Err(format!("option {} has no value", quoted(&name)));
        }
        if !take(&name, &value)? {
            return Err(format!("knows the options {known}, not {}", quoted(&name)));
        }
    }
    Ok(())
}

/// The integer that a text begins with, as C's `atoi` reads it: 0 if it begins with none.
pub fn integer(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let (sign, digits) = match text {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        _ => (1, text),
    };
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    sign * digits.fold(0_i64, |number, &byte| {
        number.saturating_mul(10).saturating_add(i64::from(byte - b'0'))
    })
}

/// The whole of a text as a number; `None` if it is none, or infinite.
pub fn real(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    text.parse::<f64>().ok().filter(|number| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::{integer, next, next_pair, real};

    #[test]
    fn numbers_are_read_as_c_reads_them() {
        assert_eq!(integer(b" 45s"), 45);
        assert_eq!(integer(b"-3"), -3);
        assert_eq!(integer(b"abc"), 0);
        assert_eq!(integer(b"99999999999999999999"), i64::MAX);
        assert_eq!(real(b"0.5"), Some(0.5));
        assert_eq!(real(b"0.5s"), None);
        assert_eq!(real(b"inf"), None);
    }

    fn words(mut text: &[u8]) -> Vec<String> {
        std::iter::from_fn(|| next(&mut text))
            .map(|word| String::from_utf8(word).unwrap())
            .collect()
    }

    #[test]
    fn words_are_split_as_httpd_splits_them() {
        assert_eq!(words(b"  /a  /b\t/c "), ["/a", "/b", "/c"]);
        assert_eq!(words(br#""/a b" '/c "d"' "e\"f\\g""#), ["/a b", "/c \"d\"", "e\"f\\g"]);
        assert_eq!(words(br"a\b a\\b"), [r"a\b", r"a\b"]);
        assert_eq!(words(b"\"open end"), ["open end"]);
        assert_eq!(words(b"\"\" x"), ["", "x"]);
        assert_eq!(words(b"\"a\"b"), ["a", "b"]);
        assert!(words(b" \t").is_empty());
        assert_eq!(words(b"\"a\\"), ["a\\"]);
    }

    #[test]
    fn the_value_of_a_pair_may_be_quoted_and_the_pair_may_not() {
        let mut text: &[u8] = b"a=b python-path='/a b' c= \"d=e\" f =g =h";
        let mut pairs = Vec::new();
        while let Some(pair) = next_pair(&mut text) {
            pairs.push(pair);
        }
        let pair = |name: &str, value: &str| Ok((name.into(), value.into()));
        assert_eq!(pairs[..3], [pair("a", "b"), pair("python-path", "/a b"), pair("c", "")]);
        let refused = |text: &str| Err(text.as_bytes().to_vec());
        assert_eq!(pairs[3..], [refused("d=e"), refused("f"), refused("=g"), refused("=h")]);
    }
}
