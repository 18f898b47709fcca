//! Text of workers, of file names and of configurations, made safe for terminals and logs: they show what is there, and obey
//! nothing of it.

/// Appends a character, or what stands for it if it moves the cursor, changes the order of what is shown, or cannot be seen.
pub fn push(text: &mut String, char: char) {
    match char {
        '\'' | '"' => text.push(char),
        // Everything that is not printable: controls, escape sequences, marks for the direction of writing.
        _ => text.extend(char.escape_debug()),
    }
}

/// Text on one line, and of no more characters than `most`.
pub fn plain(text: &str, most: usize) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    chars.by_ref().take(most).for_each(|char| push(&mut plain, char));
    if chars.next().is_some() {
        plain.push('…');
    }
    plain
}

/// The same of bytes; those that are no UTF-8 are shown as `\xff`.
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
    fn nothing_that_a_terminal_obeys_is_left_of_a_text() {
        let hostile =
            "a\u{1b}]0;x\u{7}\u{9b}2J\r\nb\u{202e}\u{2066}\u{200f}\u{ad}\u{feff}\u{e0041}";
        let shown = "a\\u{1b}]0;x\\u{7}\\u{9b}2J\\r\\nb\\u{202e}\\u{2066}\\u{200f}\\u{ad}\\u{feff}\\u{e0041}";
        assert_eq!(plain(hostile, 100), shown);
        assert_eq!(plain("it's \"é\" \\ 世", 100), "it's \"é\" \\\\ 世");
        assert_eq!(plain("longer", 4), "long…");
        assert_eq!(plain_bytes(b"a\xffb\x1b", 100), "a\\xffb\\u{1b}");
    }
}
