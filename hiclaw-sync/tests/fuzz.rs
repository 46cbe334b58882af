//! Fuzz targets of the command line's package; what inputs they get is written in the harness, which is sync-core's.

#[cfg(test)]
#[path = "../../sync-core/tests/fuzz/harness.rs"]
mod harness;

#[cfg(test)]
mod targets {
    use std::{fmt::Write as _, path::Path};

    use hiclaw_sync::settings::parse_env_file;
    use proptest::prelude::*;

    use super::harness;

    fn files() -> impl Strategy<Value = Vec<u8>> {
        let value = prop_oneof![
            "[a-z $\"'\\\\`#=]{0,12}",
            "'[a-z \"#]{0,8}'",
            "\"[a-z '#\\\\]{0,8}\"",
            "\\PC{0,8}",
        ];
        let line = (
            prop_oneof![Just(""), Just("export "), Just("#"), Just("  ")],
            "[A-Za-z_][A-Z0-9_]{0,6}",
            value,
        );
        let line = line.prop_map(|(before, name, value)| format!("{before}{name}={value}"));
        prop::collection::vec(line, 0..6).prop_map(|lines| lines.join("\n").into_bytes())
    }

    /// What is read of a file is read again of the same variables in single quotes.
    #[test]
    fn files_of_variables() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus/env_files");
        harness::fuzz(&corpus, 1, files(), |input| {
            let text = String::from_utf8_lossy(input);
            let variables = match parse_env_file(&text) {
                Ok(variables) => variables,
                Err(error) => return error_tells_a_line_and_no_more(&error.to_string(), &text),
            };
            let mut printed = String::new();
            for (name, value) in &variables {
                prop_assert!(!value.contains('\n'), "{name} goes on behind its line");
                prop_assert!(!name.starts_with(|first: char| first.is_ascii_digit()));
                let quoted = value.replace('\'', "'\\''");
                writeln!(printed, "{name}='{quoted}'").unwrap();
            }
            prop_assert_eq!(parse_env_file(&printed), Ok(variables), "{}", printed);
            Ok(())
        });
    }

    /// Lines may hold secrets: the message is one of a few and holds nothing of them.
    fn error_tells_a_line_and_no_more(error: &str, text: &str) -> harness::Checked {
        let (line, reason) = error.split_once(": ").unwrap();
        let line: usize = line.strip_prefix("line ").unwrap().parse().unwrap();
        prop_assert!((1..=text.split('\n').count()).contains(&line));
        let reasons = [
            "there is no `=`",
            "what stands before `=` is no name of a variable",
            "a quote is not closed",
            "a value with blanks needs quotes",
        ];
        prop_assert!(reasons.contains(&reason), "{reason}");
        Ok(())
    }
}
