//! Escapes text of workers, file names and configurations for terminals and logs, so that control characters in it have no effect.

/// Appends a character, or its escape (`\n`, `\u{1b}`) if it moves the cursor, changes the direction of writing, or is invisible.
pub fn push(text: &mut String, char: char) {
    match char {
        '\'' | '"' => text.push(char),
        // Characters that are not printable: controls, escape sequences, marks for the direction of writing.
        _ => text.extend(char.escape_debug()),
    }
}

/// Escaped text on one line, cut after `most` characters.
pub fn plain(text: &str, most: usize) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    chars.by_ref().take(most).for_each(|char| push(&mut plain, char));
    if chars.next().is_some() {
        plain.push('…');
    }
    plain
}

/// The same of bytes; those that are not UTF-8 become `\xff`.
pub fn plain_bytes(bytes: &[u8], most: usize) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text += &plain(chunk.valid(), most);
        chunk.invalid().iter().for_each(|byte| text += &format!("\\x{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_with_an_effect_on_a_terminal_are_escaped() {
        let hostile =
            "a\u{1b}]0;x\u{7}\u{9b}2J\r\nb\u{202e}\u{2066}\u{200f}\u{ad}\u{feff}\u{e0041}";
        let shown = "a\\u{1b}]0;x\\u{7}\\u{9b}2J\\r\\nb\\u{202e}\\u{2066}\\u{200f}\\u{ad}\\u{feff}\\u{e0041}";
        assert_eq!(plain(hostile, 100), shown);
        assert_eq!(plain("it's \"é\" \\ 世", 100), "it's \"é\" \\\\ 世");
        assert_eq!(plain("longer", 4), "long…");
        assert_eq!(plain_bytes(b"a\xffb\x1b", 100), "a\\xffb\\u{1b}");
    }
}
