//! Reads JSON5 (and so JSON) into a [`Node`].
//!
//! Owns the grammar. Keeps the digits of numbers and the place of every value, takes the last of two equal keys, and
//! refuses documents that nest deeper than [`MAX_DEPTH`], so that no text can exhaust the stack. Reasons never quote the
//! text: it may be a secret.

use super::{
    document::{Node, Object, Value},
    number,
};

/// How deep lists and objects may nest.
const MAX_DEPTH: usize = 128;

/// Why a text is no JSON5, and the byte offset where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub(super) offset: usize,
    pub(super) reason: &'static str,
}

/// Reads one document.
pub(super) fn parse(text: &str) -> Result<Node, SyntaxError> {
    let mut parser = Parser { text, at: 0 };
    parser.skip_blanks()?;
    let node = parser.value(0)?;
    parser.skip_blanks()?;
    match parser.peek() {
        None => Ok(node),
        Some(_) => Err(parser.error("text after the end of the document")),
    }
}

struct Parser<'a> {
    text: &'a str,
    /// Byte offset of what comes next; always on a character boundary.
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.at += character.len_utf8();
        Some(character)
    }

    fn take(&mut self, expected: char) -> bool {
        let found = self.peek() == Some(expected);
        if found {
            self.at += expected.len_utf8();
        }
        found
    }

    fn error(&self, reason: &'static str) -> SyntaxError {
        SyntaxError {
            offset: self.at,
            reason,
        }
    }

    fn skip_blanks(&mut self) -> Result<(), SyntaxError> {
        loop {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start_matches(is_blank).len();
            let rest = self.rest();
            if let Some(comment) = rest.strip_prefix("//") {
                self.at += 2 + comment.find(is_line_end).unwrap_or(comment.len());
            } else if let Some(comment) = rest.strip_prefix("/*") {
                let end = comment
                    .find("*/")
                    .ok_or_else(|| self.error("comment without an end"))?;
                self.at += end + 4;
            } else {
                return Ok(());
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Node, SyntaxError> {
        let offset = self.at;
        let value = match self.peek() {
            None => return Err(self.error("a value is missing")),
            Some('{') => self.object(depth + 1)?,
            Some('[') => self.list(depth + 1)?,
            Some(quote @ ('"' | '\'')) => Value::Text(self.string(quote)?),
            Some('+' | '-' | '.' | '0'..='9' | 'I' | 'N') => self.number()?,
            Some(_) => self.word()?,
        };
        Ok(Node { value, offset })
    }

    fn word(&mut self) -> Result<Value, SyntaxError> {
        let word = self.run(is_word_part);
        let value = match word {
            "null" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => return Err(self.error("a value is expected")),
        };
        self.at += word.len();
        Ok(value)
    }

    fn number(&mut self) -> Result<Value, SyntaxError> {
        let word =
            self.run(|character| is_word_part(character) || matches!(character, '+' | '-' | '.'));
        let number = number::to_json(word).map_err(|reason| self.error(reason))?;
        self.at += word.len();
        Ok(Value::Number(number))
    }

    /// The characters from here on that `belongs` holds for; they are not taken yet.
    fn run(&self, belongs: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest
            .find(|character| !belongs(character))
            .unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default()
    }

    fn enter(&mut self, depth: usize) -> Result<(), SyntaxError> {
        if depth > MAX_DEPTH {
            return Err(self.error("lists and objects nest too deeply"));
        }
        self.next();
        self.skip_blanks()
    }

    fn list(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        self.enter(depth)?;
        let mut items = Vec::new();
        while !self.take(']') {
            items.push(self.value(depth)?);
            self.skip_blanks()?;
            if self.take(',') {
                self.skip_blanks()?;
            } else if self.peek() != Some(']') {
                return Err(self.error("`,` or `]` is expected"));
            }
        }
        Ok(Value::List(items))
    }

    fn object(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        self.enter(depth)?;
        let mut object = Object::default();
        while !self.take('}') {
            let key = self.key()?;
            self.skip_blanks()?;
            if !self.take(':') {
                return Err(self.error("`:` is expected"));
            }
            self.skip_blanks()?;
            *object.entry(&key) = self.value(depth)?;
            self.skip_blanks()?;
            if self.take(',') {
                self.skip_blanks()?;
            } else if self.peek() != Some('}') {
                return Err(self.error("`,` or `}` is expected"));
            }
        }
        Ok(Value::Object(object))
    }

    fn key(&mut self) -> Result<String, SyntaxError> {
        if let Some(quote @ ('"' | '\'')) = self.peek() {
            return self.string(quote);
        }
        let start = self.at;
        let mut key = String::new();
        while let Some(character) = self.peek() {
            if character == '\\' {
                self.next();
                if !self.take('u') {
                    return Err(self.error("a key may only hold escapes of the form \\uXXXX"));
                }
                key.push(self.unicode_escape()?);
            } else if is_word_part(character) {
                self.next();
                key.push(character);
            } else {
                break;
            }
        }
        let begins_well = key
            .chars()
            .next()
            .is_some_and(|first| first.is_alphabetic() || matches!(first, '$' | '_'));
        if begins_well {
            Ok(key)
        } else {
            Err(SyntaxError {
                offset: start,
                reason: "a key is expected",
            })
        }
    }

    fn string(&mut self, quote: char) -> Result<String, SyntaxError> {
        self.next();
        let mut string = String::new();
        loop {
            let plain = self
                .run(|character| character != quote && !matches!(character, '\\' | '\n' | '\r'));
            string.push_str(plain);
            self.at += plain.len();
            match self.next() {
                Some('\\') => string.extend(self.escape()?),
                Some(end) if end == quote => return Ok(string),
                Some(line_end) => {
                    self.at -= line_end.len_utf8();
                    return Err(self.error("the line ends within a text"));
                }
                None => return Err(self.error("text without an end")),
            }
        }
    }

    /// What stands for an escape; nothing for an escaped line end.
    fn escape(&mut self) -> Result<Option<char>, SyntaxError> {
        let start = self.at;
        let next_is_digit = |parser: &Self| parser.peek().is_some_and(|next| next.is_ascii_digit());
        Ok(Some(match self.next() {
            None => return Err(self.error("text without an end")),
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('v') => '\u{b}',
            Some('0') if !next_is_digit(self) => '\0',
            Some('0'..='9') => {
                return Err(SyntaxError {
                    offset: start,
                    reason: "invalid escape",
                });
            }
            Some('x') => char::from_u32(self.hex_digits(2)?).unwrap_or(char::REPLACEMENT_CHARACTER),
            Some('u') => self.unicode_escape()?,
            Some('\r') => {
                self.take('\n');
                return Ok(None);
            }
            Some(line_end) if is_line_end(line_end) => return Ok(None),
            Some(other) => other,
        }))
    }

    /// The character of `XXXX` after `\u`, with the second half of a surrogate pair where there is one.
    fn unicode_escape(&mut self) -> Result<char, SyntaxError> {
        let start = self.at;
        let lone = SyntaxError {
            offset: start,
            reason: "half of a surrogate pair",
        };
        let first = self.hex_digits(4)?;
        if !(0xD800..0xE000).contains(&first) {
            return char::from_u32(first).ok_or(lone);
        }
        if first >= 0xDC00 || !self.take('\\') || !self.take('u') {
            return Err(lone);
        }
        let second = self.hex_digits(4)?;
        if !(0xDC00..0xE000).contains(&second) {
            return Err(lone);
        }
        char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00)).ok_or(lone)
    }

    fn hex_digits(&mut self, count: usize) -> Result<u32, SyntaxError> {
        let digits = self
            .rest()
            .get(..count)
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let number = number.ok_or_else(|| self.error("hexadecimal digits are missing"))?;
        self.at += count;
        Ok(number)
    }
}

fn is_line_end(character: char) -> bool {
    matches!(character, '\n' | '\r' | '\u{2028}' | '\u{2029}')
}

fn is_blank(character: char) -> bool {
    character.is_whitespace() || character == '\u{feff}'
}

fn is_word_part(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '$' | '_' | '\u{200c}' | '\u{200d}')
}

#[cfg(test)]
mod tests;
