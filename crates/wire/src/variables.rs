//! Environment variables in `env=NAME=VALUE` and in the file that `environment-file` names. The file has the format of systemd's
//! `EnvironmentFile=`: one variable a line, `#` or `;` begins a comment, and a value may be in quotes.

/// A name and a value.
pub type Variable = (Vec<u8>, Vec<u8>);

/// The name and the value of `NAME=VALUE`; `None` if it is none.
pub fn split(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|&byte| byte == b'=')?;
    let (name, value) = (&text[..end], &text[end + 1..]);
    let is_name = !name.is_empty() && !name.iter().any(|byte| byte.is_ascii_whitespace());
    (is_name && !text.contains(&0)).then_some((name, value))
}

/// The variables of the text of a file.
///
/// # Errors
/// The number of the first line that is not a variable.
pub fn parse(text: &[u8]) -> Result<Vec<Variable>, usize> {
    let mut variables = Vec::new();
    for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || matches!(line[0], b'#' | b';') {
            continue;
        }
        let (name, value) = split(line).ok_or(index + 1)?;
        variables.push((name.to_vec(), unquoted(value.trim_ascii()).to_vec()));
    }
    Ok(variables)
}

fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inside @ .., b'"'] | [b'\'', inside @ .., b'\''] => inside,
        plain => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_variables_is_read_line_by_line() {
        let text = b"# comment\n\nA=1\n B = x\n; other\nC=\"a b\"\r\nD='=#'\nE=\n";
        assert_eq!(parse(text), Err(4));
        let text = b"# comment\n\nA=1\n  B=x y\n; other\nC=\"a b\"\r\nD='=#'\nE=\n";
        let pair = |name: &str, value: &str| (name.into(), value.into());
        let expected =
            [pair("A", "1"), pair("B", "x y"), pair("C", "a b"), pair("D", "=#"), pair("E", "")];
        assert_eq!(parse(text), Ok(expected.to_vec()));
    }

    #[test]
    fn a_variable_has_a_name_and_no_nul() {
        assert_eq!(split(b"A=b=c"), Some((&b"A"[..], &b"b=c"[..])));
        for wrong in [&b"A"[..], b"=b", b"a b=c", b"a=\0"] {
            assert_eq!(split(wrong), None);
        }
    }
}
