//! The spelling of numbers: JSON5's in, JSON's out.
//!
//! Owns that translation. Works on texts only, so no digit is lost to a machine number.

/// The JSON spelling of a JSON5 number, or why there is none.
pub(super) fn to_json(text: &str) -> Result<String, &'static str> {
    let (sign, magnitude) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    if matches!(magnitude, "Infinity" | "NaN") {
        return Err("infinities and NaN have no form in JSON");
    }
    let magnitude = match magnitude
        .strip_prefix("0x")
        .or_else(|| magnitude.strip_prefix("0X"))
    {
        Some(digits) => hexadecimal(digits)?,
        None => decimal(magnitude)?,
    };
    Ok(format!("{sign}{magnitude}"))
}

fn hexadecimal(digits: &str) -> Result<String, &'static str> {
    // `from_str_radix` would take a sign of its own.
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("invalid hexadecimal number");
    }
    u128::from_str_radix(digits, 16)
        .map(|number| number.to_string())
        .map_err(|_| "hexadecimal number of more than 32 digits")
}

fn decimal(text: &str) -> Result<String, &'static str> {
    let (mantissa, exponent) = match text.find(['e', 'E']).map(|at| text.split_at(at)) {
        Some((mantissa, exponent)) => (mantissa, exponent),
        None => (text, ""),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits_only = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits_only(whole) || !digits_only(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return Err("invalid number");
    }
    if whole.len() > 1 && whole.starts_with('0') {
        return Err("number with a leading zero");
    }
    let exponent_digits = exponent
        .get(1..)
        .unwrap_or_default()
        .trim_start_matches(['+', '-']);
    let signs = exponent.len().saturating_sub(1 + exponent_digits.len());
    if !exponent.is_empty()
        && (signs > 1 || exponent_digits.is_empty() || !digits_only(exponent_digits))
    {
        return Err("invalid exponent");
    }
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if fraction.is_empty() { "" } else { "." };
    Ok(format!("{whole}{point}{fraction}{exponent}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_json_stay_and_those_of_json5_are_translated() {
        for (text, expected) in [
            ("0", "0"),
            ("-0", "-0"),
            (
                "12345678901234567890123456789012345678901234567890",
                "12345678901234567890123456789012345678901234567890",
            ),
            (
                "0.1000000000000000055511151231257827",
                "0.1000000000000000055511151231257827",
            ),
            ("1.10", "1.10"),
            ("1e400", "1e400"),
            ("1E-7", "1E-7"),
            ("+1.5e+3", "1.5e+3"),
            (".5", "0.5"),
            ("-.5", "-0.5"),
            ("5.", "5"),
            ("5.e3", "5e3"),
            ("0xFF", "255"),
            ("-0x10", "-16"),
        ] {
            assert_eq!(to_json(text).as_deref(), Ok(expected), "{text}");
            assert!(
                serde_json::from_str::<serde_json::Value>(expected).is_ok() || expected == "1e400",
                "{expected}"
            );
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "",
            "-",
            "+",
            ".",
            "01",
            "00",
            "1.2.3",
            "e5",
            "1e",
            "1e+",
            "1e+-5",
            "1e--5",
            "0x",
            "0x-1",
            "0xG",
            "--1",
            "+-1",
            "Infinity",
            "-NaN",
            "0x1ffffffffffffffffffffffffffffffff",
            "1_000",
            "1e5.5",
        ] {
            assert!(to_json(text).is_err(), "{text}");
        }
    }
}
