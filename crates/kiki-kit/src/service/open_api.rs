//! What the kit adds to a service's description: its name, how to authenticate, and the problem that any operation may
//! answer.

use http::Method;
use utoipa::PartialSchema as _;
use utoipa::openapi::path::{Operation as Described, PathItem};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, Content, Info, OpenApi, Ref, Response};

use crate::problem::{PROBLEM_JSON, ProblemBody};

const PROBLEM: &str = "Problem";

/// One operation of an API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its method.
    pub method: Method,
    /// The template of its path, such as `/campaigns/{id}`.
    pub path: String,
}

/// The operations that `api` describes, in the order of their paths.
pub(super) fn operations(api: &OpenApi) -> Vec<Operation> {
    let methods = |item: &PathItem| {
        let described = [
            (Method::GET, &item.get),
            (Method::PUT, &item.put),
            (Method::POST, &item.post),
            (Method::DELETE, &item.delete),
            (Method::PATCH, &item.patch),
            (Method::HEAD, &item.head),
            (Method::OPTIONS, &item.options),
            (Method::TRACE, &item.trace),
        ];
        described.map(|(method, operation)| operation.is_some().then_some(method)).into_iter().flatten()
    };
    let of_path = |(path, item): (&String, &PathItem)| {
        let path = path.clone();
        methods(item).map(move |method| Operation { method, path: path.clone() }).collect::<Vec<_>>()
    };
    api.paths.paths.iter().flat_map(of_path).collect()
}

/// Completes the description of the service `name`.
pub(super) fn complete(api: &mut OpenApi, name: &str, version: &str) {
    api.info = Info::new(format!("KIKI {name}").as_str(), version);
    let components = api.components.get_or_insert_with(Components::new);
    components.schemas.insert(PROBLEM.to_owned(), ProblemBody::schema());
    let mut response = Response::new("What was wrong (RFC 9457).");
    let schema = Ref::from_schema_name(PROBLEM);
    response.content.insert(PROBLEM_JSON.to_owned(), Content::new(Some(schema)));
    components.responses.insert(PROBLEM.to_owned(), response.into());
    let header = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("x-internal-api-key")));
    components.add_security_scheme("api_key", header);
    components.add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    let requirement = |name: &str| SecurityRequirement::new(name, Vec::<String>::new());
    api.security = Some(vec![requirement("api_key"), requirement("bearer")]);
    for item in api.paths.paths.values_mut() {
        for operation in described(item) {
            let problem = || Ref::from_response_name(PROBLEM).into();
            operation.responses.responses.entry("default".to_owned()).or_insert_with(problem);
        }
    }
}

fn described(item: &mut PathItem) -> impl Iterator<Item = &mut Described> {
    let PathItem { get, put, post, delete, patch, head, options, trace, .. } = item;
    [get, put, post, delete, patch, head, options, trace].into_iter().flatten()
}
