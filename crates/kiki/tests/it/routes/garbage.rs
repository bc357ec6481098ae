//! Whatever is posted to a route, its caller is told what is wrong with it: never an internal error, never silence.

use super::audited::{KEY, World};
use super::*;
use crate::harness::PATIENCE;

/// More bytes than any text may have.
const LONG: usize = 70_000;
/// More bytes than any body may have.
const HUGE: usize = 11 << 20;
/// Deeper than anything is meant to be.
const DEEP: usize = 100_000;

/// Values that are mostly wrong, in the place of one that is right.
fn junk() -> Vec<Value> {
    let nested = (0..100).fold(json!("x"), |inside, _| json!([inside]));
    vec![
        Value::Null,
        json!(true),
        json!(-1),
        json!(0.5),
        json!(1e300),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(""),
        json!("\u{0}"),
        json!("\u{202e}\u{1f4a5} ' \" -- ${x} {{y}} ../.."),
        json!("9".repeat(400)),
        json!("x".repeat(LONG)),
        json!([]),
        json!({}),
        json!([null]),
        json!({"a": [{"b": null}]}),
        nested,
    ]
}

/// Bodies that are no request whatever the route.
fn broken() -> Vec<Vec<u8>> {
    let mut bodies: Vec<Vec<u8>> =
        ["null", "7", "\"x\"", "[]", "[{}]", "{", "{\"a\":", "{\"a\":1,}", "{}{}"].map(Into::into).into();
    bodies.push(vec![0xff, 0xfe, 0x00]);
    bodies.push(b"{\"a\":\"\xc3\x28\"}".to_vec());
    bodies.push(b"{\"a\":".repeat(DEEP));
    bodies.push([b"{\"a\":".to_vec(), b"[".repeat(DEEP)].concat());
    bodies.push(vec![b' '; HUGE]);
    bodies
}

/// The places in a valid body, and those that the description knows beside them.
fn places(body: &Value, described: &[String]) -> Vec<String> {
    fn below(value: &Value, at: &str, found: &mut Vec<String>) {
        if !at.is_empty() {
            found.push(at.to_owned());
        }
        let items: Vec<(String, &Value)> = match value {
            Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), value)).collect(),
            Value::Array(items) => items.first().map(|item| ("0".to_owned(), item)).into_iter().collect(),
            _ => Vec::new(),
        };
        for (name, value) in items {
            below(value, &format!("{at}/{name}"), found);
        }
    }
    let mut found = described.iter().map(|name| format!("/{name}")).collect();
    below(body, "", &mut found);
    found.sort();
    found.dedup();
    found
}

/// `body` with `value` at `place`.
fn with(body: &Value, place: &str, value: &Value) -> Value {
    let mut body = body.clone();
    if let Some(there) = body.pointer_mut(place) {
        *there = value.clone();
    } else if body.is_object() {
        body[place.trim_start_matches('/')] = value.clone();
    }
    body
}

/// The fields of a request's body, each with the JSON types that it may have, if the description tells.
fn described(api: &Value, method: &str, path: &str) -> BTreeMap<String, Vec<String>> {
    let schema = |value: &Value| -> Value {
        let reference =
            value["$ref"].as_str().or_else(|| value["oneOf"].as_array()?.iter().find_map(|one| one["$ref"].as_str()));
        reference.and_then(|reference| api.pointer(&reference[1..])).unwrap_or(value).clone()
    };
    let operation = &api["paths"][path][method.to_lowercase()];
    let body = schema(&operation["requestBody"]["content"]["application/json"]["schema"]);
    let types = |field: &Value| match &field["type"] {
        Value::String(one) => vec![one.clone()],
        Value::Array(several) => several.iter().filter_map(|one| Some(one.as_str()?.to_owned())).collect(),
        _ => Vec::new(),
    };
    let fields = body["properties"].as_object().into_iter().flatten();
    fields.map(|(name, field)| (name.clone(), types(field))).collect()
}

/// The names that a description may have for the type of `value`.
fn types_of(value: &Value) -> &'static [&'static str] {
    match value {
        Value::Null => &["null"],
        Value::Bool(_) => &["boolean"],
        Value::Number(number) if number.is_f64() => &["number"],
        Value::Number(_) => &["integer", "number"],
        Value::String(_) => &["string"],
        Value::Array(_) => &["array"],
        Value::Object(_) => &["object"],
    }
}

struct Target {
    router: Router,
    method: Method,
    url: String,
    what: String,
}

impl Target {
    /// Sends `body`. Whatever is answered but what was asked for is a problem that names its code.
    async fn send(&self, body: Vec<u8>) -> StatusCode {
        let shown = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
        let request = Request::builder().method(&self.method).uri(&self.url).header("x-internal-api-key", KEY);
        let request = request.header("content-type", "application/json").body(Body::from(body)).unwrap();
        let answered = tokio::time::timeout(PATIENCE, self.router.clone().oneshot(request)).await;
        let response = answered.unwrap_or_else(|_| panic!("{} does not answer {shown}", self.what)).unwrap();
        let (head, body) = response.into_parts();
        let text = body.collect().await.unwrap().to_bytes();
        if !head.status.is_success() {
            let problem: Value = serde_json::from_slice(&text).unwrap_or_default();
            let is_problem = head.headers.get("content-type").is_some_and(|kind| kind == "application/problem+json");
            let is_told = is_problem && problem["code"].as_str().is_some_and(|code| !code.is_empty());
            let what = format!("{} answers {} {problem} to {shown}", self.what, head.status);
            assert!(head.status.is_client_error() && is_told, "{what}");
        }
        head.status
    }
}

#[tokio::test]
async fn whatever_is_posted_is_answered_by_what_is_wrong_with_it() {
    let folder = folder();
    let (process, world) = World::start(folder.path(), &[], Vec::new()).await;
    let mut targets = Vec::new();
    for &(service, method, path, _, _) in CASES {
        if !matches!(method, "POST" | "PUT" | "PATCH") || service == "engage" {
            continue;
        }
        let http = world.services.http().into_iter().find(|http| http.name() == service).unwrap();
        let api = serde_json::to_value(http.open_api()).unwrap();
        let (url, body) = match path {
            "/v1/predictions" | "/v1/predictions/cohort" | "/predict-ltv" | "/churn" => {
                (path.to_owned(), json!({"customer_ids": ["c"]}))
            }
            path if path.ends_with("/destroy-key") || path.ends_with("/retry") => (concrete(path), json!({})),
            path => world.ready(method, path).await,
        };
        let (router, method, what) = (http.router(), method.parse().unwrap(), format!("{method} {path}"));
        // An order log may be anything: what is wrong with it is told of its training.
        let takes_body =
            api["paths"][path][method_name(&method)]["requestBody"]["content"]["application/json"].is_object();
        if takes_body {
            targets.push((
                Target { router, method: Method::clone(&method), url, what },
                body,
                described(&api, method.as_str(), path),
            ));
        }
    }
    let mut sent = 0;
    for (target, body, fields) in &targets {
        for broken in broken() {
            let status = target.send(broken).await;
            assert!(status.is_client_error(), "{} takes what is no request", target.what);
            sent += 1;
        }
        let names: Vec<_> = fields.keys().cloned().collect();
        for place in places(body, &names) {
            let known = fields.get(place.trim_start_matches('/')).filter(|types| !types.is_empty());
            for value in junk() {
                let status = target.send(with(body, &place, &value).to_string().into_bytes()).await;
                let fits =
                    |types: &Vec<String>| types_of(&value).iter().any(|one| types.iter().any(|type_| type_ == one));
                let is_wrong = known.is_some_and(|types| !fits(types));
                let shown = value.to_string().chars().take(60).collect::<String>();
                assert!(!is_wrong || status.is_client_error(), "{} takes {shown} at {place}", target.what);
                sent += 1;
            }
        }
    }
    assert!(targets.len() > 25 && sent > 2_500, "{} routes, {sent} requests", targets.len());
    stop(process, world.services).await;
}

fn method_name(method: &Method) -> String {
    method.as_str().to_lowercase()
}
