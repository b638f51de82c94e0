//! Quantities of resources (`500m`, `1Gi`), as Kubernetes' API reads them
//! (apimachinery, pkg/api/resource).

use serde_json::Value;

use crate::error::ManifestError;
use crate::field::Field;

/// A quantity in units of 1/`per`, rounded up as the API rounds: `per` 1000 gives milli-units.
pub(crate) fn read(field: &Field<'_>, per: u32) -> Result<Option<i64>, ManifestError> {
    let text = match field.value() {
        Value::Null => return Ok(None),
        Value::Number(number) => number.to_string(),
        _ => field.string()?.unwrap_or_default().to_owned(),
    };
    match parse(&text) {
        // Beyond an i64 the API takes the largest.
        Some(value) => Ok(Some((value * f64::from(per)).ceil() as i64)),
        None => Err(field.wrong(format!("{text:?} is no quantity such as 500m, 2 or 1Gi"))),
    }
}

fn parse(text: &str) -> Option<f64> {
    let end = text
        .char_indices()
        .find(|(_, c)| !matches!(c, '0'..='9' | '.' | '+' | '-'))
        .map_or(text.len(), |(at, _)| at);
    let (number, suffix) = text.split_at_checked(end)?;
    let number: f64 = number.parse().ok()?;
    let factor = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024.0_f64.powi(2),
        "Gi" => 1024.0_f64.powi(3),
        "Ti" => 1024.0_f64.powi(4),
        "Pi" => 1024.0_f64.powi(5),
        "Ei" => 1024.0_f64.powi(6),
        exponent => {
            let power = exponent.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?;
            10.0_f64.powi(power)
        }
    };
    let value = number * factor;
    (value.is_finite() && value >= 0.0).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn quantities_are_read_as_the_api_reads_them() {
        for (value, per, wanted) in [
            (json!("500m"), 1000, 500),
            (json!("0.1"), 1000, 100),
            (json!(2), 1000, 2000),
            (json!(0.5), 1000, 500),
            (json!("1Gi"), 1, 1 << 30),
            (json!("128974848"), 1, 128_974_848),
            (json!("129e6"), 1, 129_000_000),
            (json!("1.5G"), 1, 1_500_000_000),
            (json!("1n"), 1, 1),
        ] {
            assert_eq!(read(&Field::root(&value, "x"), per), Ok(Some(wanted)), "{value}");
        }
        for value in
            [json!("1 Gi"), json!("lots"), json!(""), json!("-1"), json!(true), json!("1e999")]
        {
            assert!(read(&Field::root(&value, "x"), 1).is_err(), "{value}");
        }
    }
}
