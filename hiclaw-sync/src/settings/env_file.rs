//! The file of variables that a deployment mounts into a container.
//!
//! Owns its grammar: what a shell would source, without anything that runs or expands. Waiting for the file belongs to the
//! entrypoint.

/// A line that sets no variable. It doesn't quote the line: it may hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct EnvFileError {
    line: usize,
    reason: &'static str,
}

/// Reads `KEY=VALUE` lines, in order.
///
/// - blank lines and lines that start with `#` are skipped; `export` before a name is allowed
/// - `'…'` is taken as it is; in `"…"` a backslash takes `"`, `\`, `$` and a backquote literally
/// - outside quotes a backslash takes the next character literally, and a `#` after a blank starts a comment
/// - `$NAME` is not expanded, and a value ends with its line
///
/// ```
/// use hiclaw_sync::settings::parse_env_file;
/// let variables = parse_env_file("# worker\nexport HICLAW_WORKER_NAME=alice\nTOKEN='a b'  # kept\n")?;
/// assert_eq!(variables, [("HICLAW_WORKER_NAME".into(), "alice".into()), ("TOKEN".into(), "a b".into())]);
/// # Ok::<(), hiclaw_sync::settings::EnvFileError>(())
/// ```
pub fn parse_env_file(text: &str) -> Result<Vec<(String, String)>, EnvFileError> {
    let lines = text
        .strip_prefix('\u{feff}')
        .unwrap_or(text)
        .lines()
        .enumerate();
    lines
        .filter_map(|(at, line)| {
            parse_line(line)
                .map_err(|reason| EnvFileError {
                    line: at + 1,
                    reason,
                })
                .transpose()
        })
        .collect()
}

fn parse_line(line: &str) -> Result<Option<(String, String)>, &'static str> {
    let line = line.trim_start();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let exported = line
        .strip_prefix("export")
        .filter(|rest| rest.starts_with([' ', '\t']));
    let (name, value) = exported
        .map_or(line, str::trim_start)
        .split_once('=')
        .ok_or("there is no `=`")?;
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    if !starts_well
        || !name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    {
        return Err("what stands before `=` is no name of a variable");
    }
    Ok(Some((name.to_owned(), parse_value(value)?)))
}

fn parse_value(text: &str) -> Result<String, &'static str> {
    const OPEN: &str = "a quote is not closed";
    let mut value = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\'' => loop {
                match characters.next().ok_or(OPEN)? {
                    '\'' => break,
                    other => value.push(other),
                }
            },
            '"' => loop {
                match characters.next().ok_or(OPEN)? {
                    '"' => break,
                    '\\' => match characters.next().ok_or(OPEN)? {
                        escaped @ ('"' | '\\' | '$' | '`') => value.push(escaped),
                        other => value.extend(['\\', other]),
                    },
                    other => value.push(other),
                }
            },
            '\\' => value.extend(characters.next()),
            blank if blank.is_whitespace() => {
                let rest = characters.as_str().trim_start();
                if rest.is_empty() || rest.starts_with('#') {
                    break;
                }
                return Err("a value with blanks needs quotes");
            }
            other => value.push(other),
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> Result<Option<(String, String)>, &'static str> {
        parse_line(line)
    }

    #[test]
    fn values_are_read_as_a_shell_would_without_expanding() {
        for (line, expected) in [
            ("A=b", "b"),
            ("  A=b", "b"),
            ("export A=b", "b"),
            ("export\tA=b", "b"),
            ("A=", ""),
            ("A= # empty", ""),
            ("A=b # comment", "b"),
            ("A=b#c", "b#c"),
            ("A=b=c==", "b=c=="),
            ("A='b c' # x", "b c"),
            (r#"A="b \" \\ \$ \` \n # c""#, r#"b " \ $ ` \n # c"#),
            ("A=$HOME", "$HOME"),
            (r"A=b\ c", "b c"),
            ("A='b'\"c\"d", "bcd"),
            ("A=b  \r", "b"),
            ("A=ключ", "ключ"),
        ] {
            assert_eq!(
                one(line),
                Ok(Some(("A".to_owned(), expected.to_owned()))),
                "{line}"
            );
        }
    }

    #[test]
    fn what_sets_nothing_is_told_by_its_line_without_quoting_it() {
        for text in [
            "\n\ntop secret",
            "\n\nSECRET KEY=1",
            "\n\n1A=b",
            "\n\nA='b",
            "\n\nA=\"b\\",
            "\n\nA=b c",
            "\n\n=b",
        ] {
            let error = parse_env_file(text).unwrap_err().to_string();
            assert!(error.starts_with("line 3: "), "{error}");
            assert!(!error.to_lowercase().contains("secret"), "{error}");
        }
    }

    #[test]
    fn blank_lines_comments_and_a_byte_order_mark_are_skipped() {
        let text = "\u{feff}# a\r\n\r\n   # b\r\nA=1\r\nexport=2\r\n";
        let expected = [
            ("A".to_owned(), "1".to_owned()),
            ("export".to_owned(), "2".to_owned()),
        ];
        assert_eq!(parse_env_file(text).unwrap(), expected);
    }
}
