//! What must hold of every error and of every stream of events.

use serde_json::Value;

/// Errors that upstream has no better code for.
const UPSTREAMS_500: &[&str] = &[
    "resourceVersion should not be set on objects to be created",
    "resourceVersion: Invalid value: ",
    "strconv.ParseUint: parsing ",
];

/// A judgement: what is wrong, in words.
pub(crate) type Checked<T = ()> = Result<T, String>;

macro_rules! check {
    ($holds:expr, $($text:tt)*) => {
        if !$holds {
            return Err(format!($($text)*));
        }
    };
}

pub(crate) use check;

/// An error body.
pub(crate) fn judge_status(value: &Value, code: u16) -> Checked {
    check!(value["kind"] == "Status" && value["apiVersion"] == "v1", "{code}: {value}");
    check!(value["code"] == code && value["status"] == "Failure", "{code}: {value}");
    let message = value["message"].as_str().unwrap_or_default();
    check!(!message.is_empty(), "{code}: {value}");
    let upstreams = match code {
        500 => UPSTREAMS_500.iter().any(|known| message.starts_with(known)),
        504 => message.starts_with("Timeout: "),
        _ => code < 500,
    };
    check!(upstreams, "{code}: {value}");
    Ok(())
}

/// Events of a watch, complete and in order.
pub(crate) fn events(bytes: &[u8]) -> Checked {
    let mut version = 0;
    let mut initial = true;
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let event: Value = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let object = &event["object"];
        if event["type"] == "ERROR" {
            let code = object["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(0);
            judge_status(object, code)?;
            continue;
        }
        let text = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        let next = text.parse().map_err(|_| format!("no version: {event}"))?;
        // What a watch begins with is in the order of names.
        initial &= event["type"] == "ADDED";
        check!(initial || next >= version, "version {next} after {version}");
        version = version.max(next);
    }
    Ok(())
}
