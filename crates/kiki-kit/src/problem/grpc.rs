//! A problem as a gRPC status, and what a gRPC status means in HTTP.

use http::StatusCode;
use tonic::{Code, Status};

use super::Problem;

/// The metadata key under which a gRPC status carries a problem's code.
pub const GRPC_CODE_KEY: &str = "kiki-problem-code";
/// The metadata key under which a gRPC status carries the field that is wrong.
pub const GRPC_FIELD_KEY: &str = "kiki-problem-field";

impl From<Problem> for Status {
    fn from(problem: Problem) -> Self {
        let mut status = Self::new(grpc_code(&problem), problem.detail());
        let metadata = status.metadata_mut();
        if let Ok(code) = problem.code().parse() {
            metadata.insert(GRPC_CODE_KEY, code);
        }
        if let Some(field) = problem.field().and_then(|field| field.parse().ok()) {
            metadata.insert(GRPC_FIELD_KEY, field);
        }
        status
    }
}

/// What of `status` may be written down: its code and the problem's, such as `FailedPrecondition no_consent`. Its message is
/// for who asked, and may quote what they sent.
#[must_use]
pub fn logged_status(status: &Status) -> String {
    let is_code = |code: &&str| code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let code = status.metadata().get(GRPC_CODE_KEY).and_then(|code| code.to_str().ok()).filter(is_code);
    match code {
        Some(code) => format!("{:?} {code}", status.code()),
        None => format!("{:?}", status.code()),
    }
}

fn grpc_code(problem: &Problem) -> Code {
    match problem.status() {
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        // The rules refuse (a budget, a consent): asking with other rights would change nothing.
        StatusCode::FORBIDDEN if !matches!(problem.code(), "permission_denied" | "cross_site" | "not_the_relay") => {
            Code::FailedPrecondition
        }
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::CONFLICT => Code::Aborted,
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::TOO_MANY_REQUESTS => Code::ResourceExhausted,
        StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        StatusCode::GATEWAY_TIMEOUT => Code::DeadlineExceeded,
        status if status.is_client_error() => Code::InvalidArgument,
        _ => Code::Internal,
    }
}

/// The HTTP status that says what a gRPC code says, for metrics and logs.
pub(crate) fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied | Code::FailedPrecondition => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Aborted | Code::AlreadyExists => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unimplemented => StatusCode::NOT_FOUND,
        Code::InvalidArgument | Code::OutOfRange | Code::Cancelled => StatusCode::BAD_REQUEST,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grpc_status_says_the_same() {
        let status = Status::from(Problem::invalid("amount", "is missing"));
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "amount: is missing"));
        assert_eq!(status.metadata().get(GRPC_FIELD_KEY).unwrap(), "amount");
        assert_eq!(status.metadata().get(GRPC_CODE_KEY).unwrap(), "invalid_request");
        assert_eq!(logged_status(&status), "InvalidArgument invalid_request");
        assert_eq!(logged_status(&Status::unavailable("ann.miller@example.com")), "Unavailable");
        let missing = Problem::permission_denied(kiki_types::Permission::SpendWrite);
        assert_eq!(Status::from(missing).code(), Code::PermissionDenied);
        assert_eq!(Status::from(Problem::denied("no_consent", "")).code(), Code::FailedPrecondition);
    }
}
