//! The table of settings, from which the typed configuration, the check of names, `kiki config` and the default file are
//! made.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use http::uri::Authority;
use kiki_types::Currency;

use super::merge::Values;
use super::mistake::Mistake;
use super::secret::{Secret, SecretUrl};
use super::value::{
    Environment, IdentityCheck, LogFormat, MasterChoice, address, amount, bytes, credential, currency, dates,
    days_or_never, epoch_days, filter, host, line, optional, origin, path, phone, place, port, region, seconds, secret,
    secret_url, service_url, services, shelf, spelled, whole_days, window,
};
use crate::egress::Reach;
use crate::server::Trust;

/// What may be shown of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrecy {
    /// All of it.
    Shown,
    /// An address without its password.
    Password,
    /// Nothing.
    Hidden,
}

/// The declaration of one setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its place in `kiki.toml`, such as `spend.window_seconds`.
    pub key: &'static str,
    /// Its environment variable.
    pub variable: &'static str,
    /// What is in force when nobody sets it.
    pub default: &'static str,
    /// What may be shown of it.
    pub secrecy: Secrecy,
    /// What it must look like.
    pub expected: &'static str,
    /// What it is for.
    pub doc: &'static str,
}

macro_rules! settings {
    ($($field:ident: $type:ty, $parse:expr, $secrecy:ident, $key:literal, $variable:literal, $default:literal,
       $expected:literal, $doc:literal;)*) => {
        /// Every setting there is.
        pub const SETTINGS: &[Setting] = &[$(Setting {
            key: $key,
            variable: $variable,
            default: $default,
            secrecy: Secrecy::$secrecy,
            expected: $expected,
            doc: $doc,
        },)*];

        /// The configuration in force. Each field's setting is in [`SETTINGS`].
        #[derive(Clone, Debug)]
        pub struct Config {
            $(#[doc = $doc] pub $field: $type,)*
        }

        impl Config {
            /// Reads each value as its type; `None` if one of them is wrong.
            pub(super) fn parse(values: &Values, mistakes: &mut Vec<Mistake>) -> Option<Self> {
                $(let $field = values.parse($variable, $parse, mistakes);)*
                Some(Self { $($field: $field?,)* })
            }
        }
    };
}

settings! {
    environment: Environment, spelled, Shown, "env", "KIKI_ENV", "development",
        "development or production",
        "What this installation is for. In development who sits at this machine is the operator; production wants keys.";
    data: PathBuf, path, Shown, "data", "KIKI_DATA", "./kiki-data",
        "a path",
        "Where the log, the database and the sandboxes' mail are kept.";
    host: IpAddr, host, Shown, "server.host", "KIKI_HOST", "127.0.0.1",
        "an IP address or localhost",
        "The address to listen on.";
    trust: Trust, spelled, Shown, "server.trust", "KIKI_TRUST", "none",
        "none or network",
        "Who keeps others out of what is not encrypted: with network, an address beyond loopback is allowed.";
    port: Option<u16>, optional(port), Shown, "server.port", "PORT", "",
        "a port from 0 to 65535",
        "The HTTP port of the one service served, instead of its own.";
    body_limit_bytes: u64, bytes, Shown, "server.body_limit_bytes", "KIKI_BODY_LIMIT_BYTES", "10485760",
        "whole bytes from 1024 to 1073741824",
        "The largest request body.";
    shutdown: Duration, seconds, Shown, "server.shutdown_seconds", "KIKI_SHUTDOWN_SECONDS", "30",
        "whole seconds from 0 to 600",
        "How long requests that were begun may take to finish when the process ends.";
    internal_api_key: Option<Secret>, optional(secret), Hidden, "server.internal_api_key", "INTERNAL_API_KEY", "",
        "at least 16 visible ASCII characters",
        "The key that services and their callers present as x-internal-api-key.";
    log: String, filter, Shown, "log.filter", "KIKI_LOG", "info",
        "a tracing filter, such as info or kiki=debug,info",
        "What is logged.";
    log_format: LogFormat, spelled, Shown, "log.format", "KIKI_LOG_FORMAT", "auto",
        "auto, json or pretty",
        "How it is logged; auto is pretty on a terminal and JSON elsewhere.";
    database_url: Option<SecretUrl>, optional(secret_url), Password, "storage.database_url", "DATABASE_URL", "",
        "an address such as postgres://user:password@host/name or sqlite://path",
        "The SQL database; without one, SQLite below the data path.";
    redis: Option<SecretUrl>, optional(secret_url), Password, "storage.redis_addr", "REDIS_ADDR", "",
        "host:port or an address such as redis://host:6379",
        "Accepted and kept for later use: nothing uses Redis yet.";
    max_burst_budget_micros: i64, amount, Shown, "spend.max_burst_budget", "MAX_BURST_BUDGET", "500.0",
        "a decimal amount above 0 with at most six places, such as 500.0",
        "What may be spent within one window.";
    window_seconds: u32, window, Shown, "spend.window_seconds", "WINDOW_SECONDS", "60",
        "whole seconds from 1 to 31622400",
        "The length of that window.";
    currency: Currency, currency, Shown, "spend.currency", "KIKI_CURRENCY", "USD",
        "an ISO 4217 code such as USD",
        "The currency of amounts that name none.";
    log_origin: String, origin, Shown, "audit.origin", "KIKI_LOG_ORIGIN", "kiki.local/shield",
        "1 to 128 visible ASCII characters without '+'",
        "The name under which the log signs its checkpoints. A log keeps the name that it began with; strangers tell logs by it, so give each installation its own.";
    retention_days: u32, whole_days, Shown, "audit.retention_days", "RETENTION_DAYS", "2555",
        "whole days from 1 to 36525",
        "How long entries of the log are kept. Older ones are deleted by whole segments, a week of entries at the most; proofs of them stay valid.";
    log_policy: Option<PathBuf>, optional(path), Shown, "audit.policy", "KIKI_LOG_POLICY", "",
        "a path",
        "A file of witnesses with their addresses (C2SP tlog-policy) that are asked to cosign the log's checkpoints; without it, nobody is.";
    ship_to: Option<String>, optional(shelf), Shown, "audit.ship_to", "KIKI_SHIP_TO", "",
        "a path, file://path, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix",
        "Where the log is copied to: what is there is never changed, and nothing is deleted here before it is there. Without it, nowhere.";
    ship_pause: Duration, seconds, Shown, "audit.ship_seconds", "KIKI_SHIP_SECONDS", "60",
        "whole seconds from 0 to 600",
        "How long to wait from one copy to the next.";
    aws_access_key_id: Option<Secret>, optional(credential), Hidden, "shelf.aws_access_key_id", "AWS_ACCESS_KEY_ID", "",
        "visible ASCII characters",
        "The account that stores the log in S3.";
    aws_secret_access_key: Option<Secret>, optional(credential), Hidden, "shelf.aws_secret_access_key", "AWS_SECRET_ACCESS_KEY", "",
        "visible ASCII characters",
        "Its secret.";
    aws_session_token: Option<Secret>, optional(credential), Hidden, "shelf.aws_session_token", "AWS_SESSION_TOKEN", "",
        "visible ASCII characters",
        "Its token, if it is a temporary one.";
    aws_region: String, region, Shown, "shelf.aws_region", "AWS_REGION", "us-east-1",
        "a region such as eu-central-1",
        "The region of the bucket.";
    aws_endpoint_url: Option<Uri>, optional(service_url), Shown, "shelf.aws_endpoint_url", "AWS_ENDPOINT_URL", "",
        "an address such as https://minio.example:9000",
        "Another store that speaks as S3 does, with the bucket in the path; without encryption only on this machine.";
    google_service_account: Option<PathBuf>, optional(path), Shown, "shelf.google_service_account", "GOOGLE_SERVICE_ACCOUNT", "",
        "a path",
        "The file of the service account that stores the log in GCS.";
    azure_storage_account_name: Option<String>, optional(region), Shown, "shelf.azure_storage_account_name", "AZURE_STORAGE_ACCOUNT_NAME", "",
        "letters, digits and hyphens",
        "The account that stores the log in Azure.";
    azure_storage_account_key: Option<Secret>, optional(credential), Hidden, "shelf.azure_storage_account_key", "AZURE_STORAGE_ACCOUNT_KEY", "",
        "visible ASCII characters",
        "Its key.";
    keys: Option<PathBuf>, optional(path), Shown, "privacy.keys", "KIKI_KEYS", "",
        "a path",
        "Where the keys of people and of keyed hashes are kept; without it, the folder keys below the data path, where those that sign the log always are. Keep it out of the database's backups, and no copy of it for longer than 28 days: who has an old copy and an old backup reads what was erased.";
    master: MasterChoice, spelled, Shown, "privacy.master", "KIKI_MASTER", "file",
        "file, env, vault:https://host:8200/MOUNT/NAME or aws-kms:REGION:KEY",
        "The key above the keys of people: a file made at the first start, the setting master_key, Vault's transit engine, or AWS KMS.";
    master_key: Option<Secret>, optional(credential), Hidden, "privacy.master_key", "KIKI_MASTER_KEY", "",
        "32 bytes in base64",
        "The master key itself, where the setting master is env.";
    vault_token: Option<Secret>, optional(credential), Hidden, "privacy.vault_token", "VAULT_TOKEN", "",
        "visible ASCII characters",
        "The token for Vault.";
    vault_namespace: Option<String>, optional(place), Shown, "privacy.vault_namespace", "VAULT_NAMESPACE", "",
        "1 to 256 visible ASCII characters",
        "The namespace in Vault.";
    kms_endpoint: Option<Uri>, optional(service_url), Shown, "privacy.kms_endpoint", "KIKI_KMS_ENDPOINT", "",
        "an address such as https://kms.example:4566",
        "Another service that speaks as AWS KMS does.";
    epoch_days: u32, epoch_days, Shown, "privacy.epoch_days", "KIKI_EPOCH_DAYS", "14",
        "whole days from 1 to 14",
        "How often the secret above the keys of people is renewed; after twice that time the old one is destroyed, and backups of the database that need it tell nothing of anybody.";
    consent_days: u32, days_or_never, Shown, "privacy.consent_days", "KIKI_CONSENT_DAYS", "0",
        "whole days from 0 to 36525",
        "How long a consent stands that names no end; 0 is for ever.";
    identity: IdentityCheck, spelled, Shown, "privacy.identity", "KIKI_DSR_IDENTITY", "code",
        "code or none",
        "How somebody who makes a subject request proves who they are: by a code sent by mail, or not at all.";
    peers: Vec<Uri>, services, Shown, "privacy.peers", "KIKI_PRIVACY_PEERS", "",
        "addresses such as http://engage:8083, separated by commas, at most 16",
        "Services with a database or a mailbox of their own, which subject requests run over as well. Not needed for those of this process, nor where all share one database and one machine.";
    compliance_zone: String, place, Shown, "privacy.zone", "KIKI_COMPLIANCE_ZONE", "UTC",
        "a time zone such as Europe/Berlin",
        "The zone whose days count for the deadlines of subject requests.";
    holidays: Vec<jiff::civil::Date>, dates, Shown, "privacy.holidays", "KIKI_HOLIDAYS", "",
        "dates such as 2026-12-25, separated by commas, at most 1000",
        "Public holidays, which are no working days for the deadlines of subject requests.";
    retention_customers_days: u32, whole_days, Shown, "privacy.retention_customers_days", "KIKI_RETENTION_CUSTOMERS_DAYS", "1095",
        "whole days from 1 to 36525",
        "How long a customer of whom nothing is heard stays known.";
    retention_marketing_days: u32, whole_days, Shown, "privacy.retention_marketing_days", "KIKI_RETENTION_MARKETING_DAYS", "730",
        "whole days from 1 to 36525",
        "How long it is kept who was sent which message.";
    retention_sessions_days: u32, whole_days, Shown, "privacy.retention_sessions_days", "KIKI_RETENTION_SESSIONS_DAYS", "90",
        "whole days from 1 to 36525",
        "How long deliveries of webhooks, exports that were not fetched, and the like are kept.";
    controller: Option<String>, optional(line), Shown, "privacy.controller", "KIKI_CONTROLLER", "",
        "a line of at most 256 characters",
        "Who the controller is, for the record of processing (Art. 30 GDPR).";
    controller_contact: Option<String>, optional(line), Shown, "privacy.controller_contact", "KIKI_CONTROLLER_CONTACT", "",
        "a line of at most 256 characters",
        "How the controller is reached.";
    data_protection_officer: Option<String>, optional(line), Shown, "privacy.data_protection_officer", "KIKI_DPO", "",
        "a line of at most 256 characters",
        "Who the data protection officer is, and how they are reached.";
    policy_dir: Option<PathBuf>, optional(path), Shown, "policy.dir", "POLICY_DIR", "",
        "a path",
        "A folder of rule sets in Cedar that is put in force at the start and whenever it changes; without it, the policy is what was put in force by HTTP.";
    egress_reach: Option<Reach>, optional(spelled), Shown, "egress.reach", "KIKI_EGRESS_REACH", "",
        "public, loopback or private",
        "What requests to others, such as webhooks, may reach: public addresses, this machine too, private networks too; without it, loopback in development and public in production.";
    shield_url: Uri, service_url, Shown, "engage.shield_url", "SHIELD_URL", "http://localhost:8081/check",
        "an address such as http://localhost:8081/check",
        "Where shield answers.";
    value_address: Authority, address, Shown, "engage.ltv_grpc_addr", "LTV_GRPC_ADDR", "localhost:50051",
        "host:port",
        "Where the value service answers gRPC.";
    sendgrid_api_key: Option<Secret>, optional(secret), Hidden, "providers.sendgrid_api_key", "SENDGRID_API_KEY", "",
        "at least 16 visible ASCII characters",
        "Accepted and not used: e-mail goes to the sandbox until a provider is configured.";
    twilio_account_sid: Option<Secret>, optional(secret), Hidden, "providers.twilio_account_sid", "TWILIO_ACCOUNT_SID", "",
        "at least 16 visible ASCII characters",
        "Accepted and not used: SMS goes to the sandbox until a provider is configured.";
    twilio_auth_token: Option<Secret>, optional(secret), Hidden, "providers.twilio_auth_token", "TWILIO_AUTH_TOKEN", "",
        "at least 16 visible ASCII characters",
        "Accepted and not used, like the account it belongs to.";
    twilio_from_number: Option<Secret>, optional(phone), Hidden, "providers.twilio_from_number", "TWILIO_FROM_NUMBER", "",
        "a number in international form, such as +15551234567",
        "Accepted and not used, like the account it belongs to.";
}
