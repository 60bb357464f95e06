//! Answers, and the lines that each of them bears.

use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION,
    RETRY_AFTER, SET_COOKIE,
};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::server::Payload;
use crate::api;
use crate::hub::STOPPING;
use crate::model::Refusal;

/// What is answered.
pub type Reply = Response<Payload>;

/// Nothing but this page's own files, connections and forms; no frame around it.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' \
    blob: data:; connect-src 'self'; form-action 'self'; frame-src 'self'; base-uri 'none'; \
    frame-ancestors 'self'";
/// For files that somebody sent: nothing at all runs or loads in them.
pub const FILE_POLICY: &str = "default-src 'none'; sandbox; frame-ancestors 'none'";

/// An answer with a body of one type.
pub fn whole(
    status: StatusCode,
    kind: &'static str,
    bytes: impl Into<hyper::body::Bytes>,
) -> Reply {
    let mut reply = Response::new(Payload::whole(bytes));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}

/// JSON.
pub fn json(status: StatusCode, value: &Value) -> Reply {
    whole(status, "application/json", value.to_string())
}

/// JSON, all well.
pub fn good(value: &Value) -> Reply {
    json(StatusCode::OK, value)
}

/// One line for a person.
pub fn line(status: StatusCode, text: &str) -> Reply {
    whole(status, "text/plain; charset=utf-8", format!("{text}\n"))
}

/// A page.
pub fn page(status: StatusCode, text: String) -> Reply {
    whole(status, "text/html; charset=utf-8", text)
}

/// Go there, with GET.
pub fn see_other(place: &str) -> Reply {
    let mut reply = line(StatusCode::SEE_OTHER, place);
    set(&mut reply, LOCATION, place);
    reply
}

/// An error by name, its parameters, and the words for a person.
pub fn error(status: StatusCode, name: &str, parameters: &Value, message: &str) -> Reply {
    json(status, &json!({"error": name, "parameters": parameters, "message": message}))
}

/// An error of HTTP's own making.
pub fn wrong(status: StatusCode, message: &str) -> Reply {
    error(status, "org.klatsch.Chat.Denied", &json!({"what": message}), message)
}

/// Come again after so many seconds.
pub fn later(status: StatusCode, seconds: u64, message: &str) -> Reply {
    let mut reply = wrong(status, message);
    set(&mut reply, RETRY_AFTER, &seconds.to_string());
    reply
}

/// What the node refused.
pub fn refusal(refusal: &Refusal) -> Reply {
    let status = match refusal {
        Refusal::NoSuchPeer { .. } | Refusal::NoSuchUser { .. } => StatusCode::NOT_FOUND,
        Refusal::Ambiguous { .. } | Refusal::HandleTaken { .. } | Refusal::NotJoined { .. } => {
            StatusCode::CONFLICT
        }
        Refusal::BadValue { .. } | Refusal::File { .. } => StatusCode::BAD_REQUEST,
        Refusal::TooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
        Refusal::Denied { .. } => StatusCode::FORBIDDEN,
        Refusal::Failed { reason } if reason == STOPPING => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::Failed { .. } => StatusCode::CONFLICT,
        #[allow(unreachable_patterns)]
        _ => StatusCode::CONFLICT,
    };
    let (name, parameters) = api::refusal_to_json(refusal);
    error(status, &name, &Value::Object(parameters), &refusal.to_string())
}

/// Sets a line; a value that no line can hold is left out.
pub fn set(reply: &mut Reply, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        reply.headers_mut().insert(name, value);
    }
}

/// A cookie that scripts cannot read and other sites cannot use.
pub fn cookie(reply: &mut Reply, name: &str, value: &str, seconds: u64) {
    let line = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict");
    if let Ok(line) = HeaderValue::from_str(&line) {
        reply.headers_mut().append(SET_COOKIE, line);
    }
}

/// Adds the lines that every answer bears.
pub fn seal(reply: &mut Reply) {
    let fixed = [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
    ];
    let headers = reply.headers_mut();
    for (name, value) in fixed {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_sealed_and_a_refusal_says_what_and_why() {
        let mut reply = refusal(&Refusal::NoSuchPeer { name: "bob".into() });
        seal(&mut reply);
        assert_eq!(reply.status(), StatusCode::NOT_FOUND);
        assert_eq!(reply.headers()["x-content-type-options"], "nosniff");
        assert_eq!(reply.headers()["cache-control"], "no-store");
        assert!(
            reply.headers()["content-security-policy"]
                .to_str()
                .unwrap()
                .contains("script-src 'self'")
        );
        let body: Value = serde_json::from_slice(reply.body().peek().unwrap()).unwrap();
        assert_eq!(body["error"], "org.klatsch.Chat.NoSuchPeer");
        assert_eq!(body["parameters"]["name"], "bob");
        assert!(body["message"].as_str().unwrap().contains("bob"));
    }

    #[test]
    fn nothing_from_a_person_breaks_out_of_a_line() {
        let mut reply = line(StatusCode::OK, "x");
        set(&mut reply, LOCATION, "/a\r\nSet-Cookie: x=1");
        cookie(&mut reply, "k", "a\r\nb", 1);
        assert!(reply.headers().get("location").is_none());
        assert!(reply.headers().get("set-cookie").is_none());
    }
}
