//! The modules that decide import nothing that acts: what they answer depends on what they are asked, and on nothing else.

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    const PURE: [&str; 13] = [
        "layout",
        "link",
        "merge",
        "reconcile",
        "guard",
        "join",
        "order",
        "conflict",
        "debounce",
        "backoff",
        "carry",
        "pace",
        "mirror",
    ];
    const FORBIDDEN: [&str; 7] = [
        "tokio",
        "std::fs",
        "aws_",
        "Instant::now",
        "SystemTime::now",
        "Timestamp::now",
        "rustix",
    ];

    fn check(file: &Path, found: &mut Vec<String>) {
        let text = fs::read_to_string(file).unwrap();
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            // Tests below the code may use what they like.
            if line == "mod tests {" {
                break;
            }
            found.extend(
                FORBIDDEN
                    .iter()
                    .filter(|word| code.contains(**word))
                    .map(|word| format!("{}:{}: {word}", file.display(), number + 1)),
            );
        }
    }

    fn check_all(directory: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() && name != "tests" {
                check_all(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && name != "tests.rs"
            {
                check(&path, found);
            }
        }
    }

    #[test]
    fn the_pure_layer_imports_nothing_that_acts() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut found = Vec::new();
        for module in PURE {
            check(&source.join(format!("{module}.rs")), &mut found);
            if source.join(module).is_dir() {
                check_all(&source.join(module), &mut found);
            }
        }
        assert_eq!(found, [""; 0]);
    }
}
