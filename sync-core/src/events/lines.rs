//! Cuts a stream of bytes into lines of a bounded length.
//!
//! Owns one line at most. What is longer is dropped to its end and told, and the next line is as good as ever. Spaces
//! before a line are keep-alives of some stores and are not kept.

/// Longest line taken. An event is about a kilobyte, at most some ten with a long key and all metadata.
pub(super) const MAX_LINE_BYTES: usize = 1024 * 1024;

/// A line as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// Its bytes, without the end; never empty.
    Whole(Vec<u8>),
    /// It was longer than [`MAX_LINE_BYTES`] and is gone.
    TooLong,
}

/// The part of a line that has come.
#[derive(Debug, Default)]
pub(super) struct Lines {
    partial: Vec<u8>,
    skipping: bool,
}

impl Lines {
    /// Takes bytes and gives the lines that they complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut pieces = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            self.extend(piece);
            if pieces.peek().is_some() {
                lines.extend(self.end());
            }
        }
        lines
    }

    fn extend(&mut self, piece: &[u8]) {
        let piece = if self.partial.is_empty() {
            piece.trim_ascii_start()
        } else {
            piece
        };
        if self.partial.len() + piece.len() > MAX_LINE_BYTES {
            self.skipping = true;
            self.partial = Vec::new();
        }
        if !self.skipping {
            self.partial.extend_from_slice(piece);
        }
    }

    fn end(&mut self) -> Option<Line> {
        let line = std::mem::take(&mut self.partial);
        if std::mem::take(&mut self.skipping) {
            return Some(Line::TooLong);
        }
        (!line.is_empty()).then_some(Line::Whole(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(pieces: &[&str]) -> Vec<String> {
        let mut lines = Lines::default();
        let all = pieces.iter().flat_map(|piece| lines.push(piece.as_bytes()));
        all.map(|line| match line {
            Line::Whole(bytes) => String::from_utf8(bytes).unwrap(),
            Line::TooLong => "too long".to_owned(),
        })
        .collect()
    }

    #[test]
    fn lines_are_whole_however_they_are_cut_up() {
        assert_eq!(texts(&["a\nbc\n"]), ["a", "bc"]);
        assert_eq!(texts(&["a", "b", "c\nd", "\n"]), ["abc", "d"]);
        assert_eq!(texts(&["not ended"]), [""; 0]);
    }

    #[test]
    fn spaces_between_lines_are_no_lines_and_cost_no_memory() {
        assert_eq!(
            texts(&[" ", " ", "  {}\n", "\n", " \r\n", "x \n"]),
            ["{}", "x "]
        );
        let mut lines = Lines::default();
        for _ in 0..3 * MAX_LINE_BYTES {
            lines.push(b" ");
        }
        assert_eq!(lines.partial.capacity(), 0);
        assert_eq!(lines.push(b"x\n"), [Line::Whole(b"x".to_vec())]);
    }

    #[test]
    fn a_line_without_an_end_is_dropped_and_the_next_one_is_taken() {
        let mut lines = Lines::default();
        let mebibyte = vec![b'x'; MAX_LINE_BYTES];
        assert_eq!(lines.push(&mebibyte), []);
        for _ in 0..5 {
            assert_eq!(lines.push(&mebibyte), []);
            assert!(lines.partial.capacity() <= 2 * MAX_LINE_BYTES);
        }
        assert_eq!(
            lines.push(b"yz\nnext\n"),
            [Line::TooLong, Line::Whole(b"next".to_vec())]
        );
    }
}
