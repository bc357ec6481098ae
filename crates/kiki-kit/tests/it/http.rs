//! The layer, the extractors, the public paths: over the router.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::FromRequestParts as _;
use http::{Request, StatusCode};
use kiki_kit::config::{Config, Sources};
use kiki_kit::extract::IdempotencyKey;
use kiki_kit::service::{Dependency, Limits, Platform};
use kiki_kit::shutdown::Shutdown;
use kiki_types::Principal;
use serde_json::json;

use crate::support::{KEY, READER, World, ask, down, get, post, problem, text, value};

#[tokio::test]
async fn bad_input_is_a_problem_that_names_the_field() {
    let world = World::new();
    for (request, status, code, field) in [
        (post("/json", "{\"customer_id\": 5}"), 400, "invalid_request", Some("customer_id")),
        (post("/json", "{}"), 400, "invalid_request", Some("customer_id")),
        (post("/json", "{\"customer_id\":\"a\",\"inner\":{}}"), 400, "invalid_request", Some("inner.amount")),
        (
            post("/json", "{\"customer_id\":\"a\",\"inner\":{\"amount\":-1}}"),
            400,
            "invalid_request",
            Some("inner.amount"),
        ),
        (post("/json", "{\"customer_id\":\"a\",\"customer_id\":\"b\"}"), 400, "invalid_request", Some("customer_id")),
        (post("/json", "{\"customer_id\""), 400, "invalid_request", None),
        (post("/json", "[]x"), 400, "invalid_request", None),
        (post("/json", ""), 400, "invalid_request", None),
        (post("/grant", ""), 400, "invalid_request", Some("customer_id")),
        (post("/grant?customer_id=a&times=many", ""), 400, "invalid_request", Some("times")),
        (post("/grant?customer_id=a&customer_id=b", ""), 400, "invalid_request", Some("customer_id")),
        (get("/items/abc"), 400, "invalid_request", Some("id")),
        (get("/items/%ff"), 400, "invalid_request", Some("id")),
        (get("/campaigns/17"), 400, "invalid_request", Some("id")),
        (get("/items/1?page=-1"), 400, "invalid_request", Some("page")),
        (get("/nowhere"), 404, "unknown_path", None),
        (get("/grant"), 405, "wrong_method", None),
    ] {
        let asked = format!("{request:?}");
        let told = problem(world.ask(request).await).await;
        assert_eq!((told.0.as_u16(), told.1.as_str(), told.2.as_deref()), (status, code, field), "{asked}");
    }
}

#[tokio::test]
async fn a_body_must_be_an_object() {
    let world = World::new();
    for path in ["/json", "/grant"] {
        for body in ["[\"a\"]", "[\"a\", 3, null]", " \n[]", "\"a\"", "7", "null"] {
            let response = world.ask(post(path, body)).await;
            let status = response.status().as_u16();
            let told = value(response).await;
            assert_eq!((status, &told["detail"]), (400, &json!("The body must be a JSON object.")), "{path} {body}");
        }
    }
}

#[tokio::test]
async fn an_idempotency_key_comes_once_or_twice_the_same() {
    for (keys, expected) in [(&[][..], None), (&["a"], Some("a")), (&["a", "a"], Some("a"))] {
        assert_eq!(key_of(keys).await, Ok(expected.map(str::to_owned)), "{keys:?}");
    }
    for keys in [&["a", "b"][..], &["a", "a", "b"], &[""], &["a b"]] {
        assert_eq!(key_of(keys).await, Err((400, "idempotency-key".to_owned())), "{keys:?}");
    }
}

/// What the extractor takes from these headers, or the status and the field of its refusal.
async fn key_of(keys: &[&str]) -> Result<Option<String>, (u16, String)> {
    let request = keys.iter().fold(Request::post("/"), |request, key| request.header("idempotency-key", *key));
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    let found = IdempotencyKey::from_request_parts(&mut parts, &()).await;
    found.map(|key| key.0).map_err(|told| (told.status().as_u16(), told.field().unwrap_or_default().to_owned()))
}

#[tokio::test]
async fn broken_json_tells_its_place() {
    let told = value(World::new().ask(post("/json", "{\n  \"customer_id\": oops")).await).await;
    assert!(told["detail"].as_str().unwrap().contains("line 2 column 18"), "{told}");
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_one() {
    let response = World::new().ask(get("/grant")).await;
    assert_eq!(response.headers()["allow"], "POST");
    let response = World::new().ask(post("/health", "")).await;
    assert_eq!(
        (response.status(), &response.headers()["allow"]),
        (StatusCode::METHOD_NOT_ALLOWED, &"GET,HEAD".parse().unwrap())
    );
}

#[tokio::test]
async fn a_body_must_say_that_it_is_json() {
    for path in ["/json", "/grant"] {
        let mut request = post(path, "{\"customer_id\":\"a\"}");
        request.headers_mut().insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
        let told = problem(World::new().ask(request).await).await;
        assert_eq!((told.0.as_u16(), told.1.as_str()), (415, "unsupported_media_type"), "{path}");
        // As JSON it would be read as what it is not.
        let mut request = post(path, "{\"customer_id\":\"a\"}");
        request.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
        let told = problem(World::new().ask(request).await).await;
        assert_eq!((told.0.as_u16(), told.1.as_str()), (415, "unsupported_media_type"), "{path}");
    }
}

#[tokio::test]
async fn fields_come_from_the_body_or_else_from_the_query() {
    let world = World::new();
    let from_query = world.ask(post("/grant?customer_id=a%20b&times=3&unknown=x", "")).await;
    assert_eq!(value(from_query).await, json!({"customer_id": "a b", "times": 3, "inner": null}));
    let from_body = world.ask(post("/grant?customer_id=query", "{\"customer_id\":\"body\"}")).await;
    assert_eq!(value(from_body).await["customer_id"], "body");
}

#[tokio::test]
async fn an_operation_wants_its_permission() {
    let world = World::new();
    let bare = || Request::get("/items/1").body(Body::empty()).unwrap();
    let with = |name: &'static str, value: &str| {
        let mut request = bare();
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    };
    let nobody = world.ask(bare()).await;
    assert_eq!(nobody.headers()["www-authenticate"], "Bearer realm=\"kiki\"");
    assert_eq!(problem(nobody).await.1, "unauthenticated");
    assert_eq!(problem(world.ask(with("x-internal-api-key", "guess")).await).await.1, "unauthenticated");
    let known = world.ask(with("authorization", &format!("Bearer {READER}"))).await;
    assert_eq!(value(known).await["who"], "engage");

    let mut grant = post("/grant?customer_id=a", "");
    grant.headers_mut().insert("x-internal-api-key", READER.parse().unwrap());
    let told = value(world.ask(grant).await).await;
    assert_eq!((&told["code"], &told["permission"]), (&json!("permission_denied"), &json!("consent:write")));
}

#[tokio::test]
async fn who_is_known_inside_the_process_stays_who_they_are() {
    let mut request = get("/items/1");
    request.extensions_mut().insert(Arc::new(Principal::local_operator()));
    assert_eq!(value(World::new().ask(request).await).await["who"], "operator");
}

#[tokio::test]
async fn the_local_operator_is_assumed_for_this_machine_and_this_site_only() {
    let world = World::new().with_local_operator();
    let ask = async |headers: &[(&'static str, &str)]| {
        let mut request = Request::get("/items/1").body(Body::empty()).unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        world.ask(request).await
    };
    assert_eq!(value(ask(&[("host", "localhost:8081")]).await).await["who"], "operator");
    for refused in [
        &[("host", "rebound.example")][..],
        &[("host", "localhost"), ("sec-fetch-site", "cross-site")],
        &[("host", "localhost"), ("origin", "https://evil.example")],
    ] {
        let told = problem(ask(refused).await).await;
        assert_eq!((told.0.as_u16(), told.1.as_str()), (403, "cross_site"), "{refused:?}");
    }
    assert_eq!(problem(ask(&[("host", "localhost"), ("x-internal-api-key", KEY)]).await).await.1, "unauthenticated");
}

#[tokio::test]
async fn ids_are_taken_passed_on_and_returned() {
    let world = World::new();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut request = get("/around");
    request.headers_mut().insert("x-request-id", "order-17".parse().unwrap());
    request.headers_mut().insert("traceparent", trace.parse().unwrap());
    let response = world.ask(request).await;
    let returned = response.headers().clone();
    let inside = value(response).await;
    assert_eq!((&returned["x-request-id"], &inside["id"]), (&"order-17".parse().unwrap(), &json!("order-17")));
    assert_eq!(inside["trace"], returned["traceparent"].to_str().unwrap());
    assert!(inside["trace"].as_str().unwrap().contains("4bf92f3577b34da6a3ce929d0e0e4736"));
    assert_eq!(inside["network"], "");

    let made = world.ask(get("/nowhere")).await.headers().clone();
    assert!(made.contains_key("x-request-id") && made.contains_key("traceparent"));
    assert_eq!(made["x-content-type-options"], "nosniff");
}

#[tokio::test]
async fn what_fails_inside_is_not_told() {
    let world = World::new();
    for path in ["/panic", "/fail"] {
        let response = world.ask(get(path)).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let told = text(response).await;
        assert!(told.contains("\"internal\"") && !told.contains("secret") && !told.contains("hunter2"), "{told}");
    }
}

#[tokio::test]
async fn a_request_that_hangs_is_given_up() {
    let mut world = World::new();
    world.platform.limits.request_time_max = Duration::from_millis(1);
    let response = world.ask(get("/hang")).await;
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(problem(response).await.1, "timed_out");
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_the_callers_slowness() {
    let mut world = World::new();
    world.platform.limits.request_time_max = Duration::from_millis(1);
    for path in ["/json", "/grant"] {
        let endless = futures::stream::pending::<Result<&[u8], std::io::Error>>();
        let told = problem(world.ask(post(path, Body::from_stream(endless))).await).await;
        assert_eq!((told.0, told.1.as_str()), (StatusCode::REQUEST_TIMEOUT, "body_too_slow"), "{path}");
    }
}

#[tokio::test]
async fn too_many_requests_at_once_are_refused_while_health_answers() {
    let mut world = World::new();
    world.platform.limits.requests_max = 1;
    let service = world.service();
    let (first, second) = tokio::join!(ask(&service, get("/gate")), async {
        world.gate.entered.notified().await;
        let refused = ask(&service, get("/items/1")).await;
        assert_eq!(ask(&service, get("/health/live")).await.status(), StatusCode::OK);
        world.gate.open.notify_one();
        refused
    });
    assert_eq!((text(first).await.as_str(), problem(second).await.1.as_str()), ("through", "overloaded"));
    assert_eq!(ask(&service, get("/items/1")).await.status(), StatusCode::OK, "the place is free again");
}

#[tokio::test]
async fn a_body_beyond_its_bound_is_refused_with_and_without_length() {
    let mut world = World::new();
    world.platform.limits = Limits { body_bytes_max: 30, ..world.platform.limits };
    let exact = "{\"customer_id\":\"aaaaaaaaaaaaa\"}".to_owned();
    assert_eq!(exact.len(), 31);
    let (fits, over) = (exact.replace("aa\"", "a\""), exact);
    for path in ["/json", "/grant"] {
        let chunked = |body: &str| {
            let chunks: Vec<_> =
                body.as_bytes().chunks(7).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect();
            Body::from_stream(futures::stream::iter(chunks))
        };
        for body in [Body::from(fits.clone()), chunked(&fits)] {
            assert_eq!(world.ask(post(path, body)).await.status(), StatusCode::OK);
        }
        for body in [Body::from(over.clone()), chunked(&over), chunked(&over.repeat(10))] {
            let told = problem(world.ask(post(path, body)).await).await;
            assert_eq!((told.0.as_u16(), told.1.as_str()), (413, "body_too_large"));
        }
    }
}

#[tokio::test]
async fn health_has_its_shape() {
    let world = World::new();
    let service = world
        .builder()
        .depends_on(Dependency::required("postgres", || async { Ok::<_, String>(()) }))
        .health_metric("ltv_predictions", || 567)
        .build();
    world.clock.advance(Duration::from_millis(61_500));
    assert_eq!(ask(&service, get("/items/1")).await.status(), StatusCode::OK);
    let response = ask(&service, Request::get("/health").body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        value(response).await,
        json!({
            "service": "sample", "status": "healthy", "version": "1.2.3", "uptime_seconds": 61,
            "timestamp": "2026-02-05T10:31:01.500Z",
            "dependencies": [{"name": "postgres", "status": "healthy", "response_time_ms": 0.0}],
            "metrics": {"requests_total": 1, "requests_failed_total": 0, "requests_in_flight": 1, "ltv_predictions": 567},
        })
    );
}

#[tokio::test]
async fn health_follows_what_the_service_depends_on() {
    let world = World::new();
    let optional = Dependency::optional("mailbox", || async { Err("refused") });
    let degraded = world.builder().depends_on(optional.clone()).build();
    assert_eq!(ask(&degraded, get("/health/ready")).await.status(), StatusCode::OK);
    let response = ask(&degraded, get("/health")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(value(response).await["status"], "degraded");

    let unhealthy = world.builder().depends_on(optional).depends_on(down("journal")).build();
    let response = ask(&unhealthy, get("/health")).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(value(response).await["status"], "unhealthy");
    for path in ["/health/ready", "/health/startup"] {
        assert_eq!(ask(&unhealthy, get(path)).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(ask(&unhealthy, get("/health/live")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn what_drains_is_alive_and_not_ready() {
    let world = World::new();
    let service = world.service();
    assert_eq!(ask(&service, get("/health/ready")).await.status(), StatusCode::OK);
    world.platform.shutdown.begin();
    assert_eq!(ask(&service, get("/health/ready")).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ask(&service, get("/health/live")).await.status(), StatusCode::OK);
    assert_eq!(ask(&service, get("/health/startup")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn metrics_count_by_template_and_never_by_path() {
    let world = World::new();
    let service = world.service();
    for path in ["/items/41", "/items/42", "/items/abc", "/secret-path"] {
        ask(&service, get(path)).await;
    }
    let metrics = text(ask(&service, get("/metrics")).await).await;
    for line in [
        "kiki_http_requests_total{service=\"sample\",route=\"/items/{id}\",method=\"GET\",status=\"200\"}",
        "kiki_http_requests_total{service=\"sample\",route=\"/items/{id}\",method=\"GET\",status=\"400\"}",
        "kiki_http_requests_total{service=\"sample\",route=\"unmatched\",method=\"GET\",status=\"404\"}",
        "kiki_http_request_duration_seconds_bucket{service=\"sample\",route=\"/items/{id}\",method=\"GET\",le=\"0.0001\"}",
        "kiki_build_info{service=\"sample\",version=\"1.2.3\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    assert!(!metrics.contains("secret-path") && !metrics.contains("/items/4"), "{metrics}");
}

#[tokio::test]
async fn the_api_describes_itself() {
    let service = World::new().service();
    let api = value(ask(&service, get("/openapi.json")).await).await;
    assert_eq!(api["info"], json!({"title": "KIKI sample", "version": "1.2.3"}));
    assert_eq!(api["paths"]["/grant"]["post"]["responses"]["default"]["$ref"], "#/components/responses/Problem");
    assert_eq!(
        api["components"]["schemas"]["Problem"]["required"],
        json!(["type", "title", "status", "code", "detail"])
    );
    assert!(api["paths"]["/health"]["get"]["responses"]["503"].is_object());
    let operations: Vec<_> = service.operations().iter().map(|o| format!("{} {}", o.method, o.path)).collect();
    assert!(operations.contains(&"POST /grant".to_owned()) && operations.len() == 9, "{operations:?}");
    assert!(!operations.iter().any(|operation| operation.contains("/health")));
}

#[tokio::test]
async fn who_asks_for_health_at_the_same_time_shares_one_check() {
    let checks = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&checks);
    let dependency = Dependency::required("postgres", move || {
        counted.fetch_add(1, Ordering::Relaxed);
        async {
            tokio::task::yield_now().await;
            Ok::<_, String>(())
        }
    });
    let service = World::new().builder().depends_on(dependency).build();
    let (one, other) = tokio::join!(ask(&service, get("/health")), ask(&service, get("/health/ready")));
    assert_eq!((one.status(), other.status()), (StatusCode::OK, StatusCode::OK));
    assert_eq!(checks.load(Ordering::Relaxed), 1);
    ask(&service, get("/health")).await;
    assert_eq!(checks.load(Ordering::Relaxed), 2, "what is past is not told again");
}

#[tokio::test]
async fn the_local_operator_is_for_development_on_loopback() {
    let asked = async |environment: &[(&str, &str)], key: Option<&str>| {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let config = Config::load(&Sources { environment, ..Sources::default() }).unwrap().config;
        let mut world = World::new();
        world.platform = Platform::of_process(&config, Shutdown::new());
        let request = Request::get("/items/1").header("host", "localhost");
        let request = key.into_iter().fold(request, |request, key| request.header("x-internal-api-key", key));
        world.ask(request.body(Body::empty()).unwrap()).await.status().as_u16()
    };
    let key = ("INTERNAL_API_KEY", "0123456789abcdef");
    assert_eq!(asked(&[], None).await, 200);
    assert_eq!(asked(&[("KIKI_ENV", "production"), key], None).await, 401);
    assert_eq!(asked(&[("KIKI_HOST", "0.0.0.0"), ("KIKI_TRUST", "network"), key], None).await, 401);
    assert_eq!(asked(&[("KIKI_ENV", "production"), key], Some(key.1)).await, 200);
    assert_eq!(asked(&[], Some("")).await, 401, "an empty key is not the one that is not set");
}
