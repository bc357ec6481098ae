//! Where a log is shipped to: a folder, or a bucket of an object store (S3 and what speaks like it, GCS, Azure).
//!
//! Requests go through a client of this program: one kind of TLS, and no address is asked for credentials. Whoever ships
//! names them.

use std::fmt;
use std::io;
use std::path::Path as FilePath;
use std::time::Duration;

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http_body_util::BodyExt as _;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kiki_audit::shelf::{Folder, OBJECT_BYTES_MAX, Shelf, other_bytes};
use kiki_kit::config::Config;
use kiki_kit::shutdown::Shutdown;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::{
    HttpClient, HttpConnector as ConnectsHttp, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
    HttpResponseBody, HttpService,
};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload, RetryConfig};
use tokio::runtime::Handle;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::crypto::ring;

/// Objects that are on their way at a time.
const AT_ONCE: usize = 32;
/// How long one request may take.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(120);
/// How long a connection may take to come about.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// A request that failed is sent again so often; then the next round tries.
const RETRIES_MAX: usize = 3;

/// The shelf at `to`: a path, `file://<path>`, `s3://<bucket>/<prefix>`, `gs://…` or `az://…`. Nothing is asked of it yet.
/// Its calls block; they fail once `shutdown` has begun.
///
/// # Errors
/// The address is none of these, or credentials are missing.
pub(crate) fn open(to: &str, config: &Config, runtime: Handle, shutdown: Shutdown) -> anyhow::Result<Box<dyn Shelf>> {
    let path = to.strip_prefix("file://").or_else(|| (!to.contains("://")).then_some(to));
    if let Some(path) = path {
        anyhow::ensure!(!path.trim().is_empty(), "no place is named: expected a path, file://, s3://, gs:// or az://");
        let is_store = ["s3:", "gs:", "az:", "file:"].iter().any(|scheme| path.starts_with(scheme));
        anyhow::ensure!(!is_store, "{to}: write s3://BUCKET, gs://…, az://…, file:///PATH, or ./{to} for a folder");
        let (shelf, data) = (std::path::absolute(path)?, std::path::absolute(&config.data)?);
        anyhow::ensure!(
            !shelf.starts_with(&data),
            "{to} is within the data folder {}, of which it is to be a copy",
            data.display()
        );
        return Ok(Box::new(Folder::new(kiki_audit::disk::real(), FilePath::new(path))));
    }
    let (scheme, rest) = to.split_once("://").unwrap_or((to, ""));
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    anyhow::ensure!(!bucket.is_empty(), "{to} names no bucket");
    let store: Box<dyn ObjectStore> = match scheme {
        "s3" => Box::new(s3(bucket, config)?),
        "gs" => Box::new(gcs(bucket, config)?),
        "az" => Box::new(azure(bucket, config)?),
        _ => anyhow::bail!("{to}: expected a path, file://, s3://, gs:// or az://"),
    };
    let prefix = Path::parse(prefix).with_context(|| format!("the prefix in {to}"))?;
    Ok(Box::new(Bucket { store, prefix, runtime, shutdown }))
}

fn retries() -> RetryConfig {
    RetryConfig { max_retries: RETRIES_MAX, retry_timeout: REQUEST_TIME_MAX, ..RetryConfig::default() }
}

fn s3(bucket: &str, config: &Config) -> anyhow::Result<impl ObjectStore + use<>> {
    let (Some(id), Some(secret)) = (&config.aws_access_key_id, &config.aws_secret_access_key) else {
        anyhow::bail!("shipping to S3 needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
    };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(&config.aws_region)
        .with_access_key_id(id.expose())
        .with_secret_access_key(secret.expose())
        .with_retry(retries())
        .with_http_connector(Connector);
    if let Some(token) = &config.aws_session_token {
        builder = builder.with_token(token.expose());
    }
    if let Some(endpoint) = &config.aws_endpoint_url {
        // Without encryption only where nobody is in between.
        let is_here = endpoint.host().is_some_and(is_loopback);
        builder = builder.with_endpoint(endpoint.to_string().trim_end_matches('/')).with_allow_http(is_here);
    }
    builder.build().context("the S3 shelf")
}

fn gcs(bucket: &str, config: &Config) -> anyhow::Result<impl ObjectStore + use<>> {
    let Some(account) = &config.google_service_account else {
        anyhow::bail!("shipping to GCS needs GOOGLE_SERVICE_ACCOUNT, the file of a service account's key");
    };
    let builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(bucket)
        .with_service_account_path(account.to_string_lossy())
        .with_retry(retries())
        .with_http_connector(Connector);
    builder.build().context("the GCS shelf")
}

fn azure(container: &str, config: &Config) -> anyhow::Result<impl ObjectStore + use<>> {
    let (Some(account), Some(key)) = (&config.azure_storage_account_name, &config.azure_storage_account_key) else {
        anyhow::bail!("shipping to Azure needs AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY");
    };
    let builder = MicrosoftAzureBuilder::new()
        .with_container_name(container)
        .with_account(account)
        .with_access_key(key.expose())
        .with_retry(retries())
        .with_http_connector(Connector);
    builder.build().context("the Azure shelf")
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// A shelf that is a bucket, or a part of one.
struct Bucket {
    store: Box<dyn ObjectStore>,
    prefix: Path,
    runtime: Handle,
    shutdown: Shutdown,
}

impl Bucket {
    /// Waits for `call`, or for the end of the process.
    fn block_on<T>(&self, call: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let shutdown = self.shutdown.draining();
        self.runtime.block_on(async {
            tokio::select! {
                answer = call => answer,
                () = shutdown => Err(io::Error::new(io::ErrorKind::Interrupted, "the process ends")),
            }
        })
    }

    fn path(&self, name: &str) -> io::Result<Path> {
        let whole = if self.prefix.as_ref().is_empty() { name.to_owned() } else { format!("{}/{name}", self.prefix) };
        Path::parse(whole).map_err(io::Error::other)
    }

    async fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let read = match self.store.get(&self.path(name)?).await {
            Ok(read) => read,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(into_io(error)),
        };
        if read.meta.size > u64::try_from(OBJECT_BYTES_MAX).unwrap_or(u64::MAX) {
            return Err(other_bytes(name));
        }
        Ok(Some(read.bytes().await.map_err(into_io)?.to_vec()))
    }

    async fn verify(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        match self.read(name).await? {
            Some(there) if there == bytes => Ok(()),
            Some(_) => Err(other_bytes(name)),
            None => Err(io::Error::other(format!("{name} was stored and is not there"))),
        }
    }

    async fn write(&self, name: &str, bytes: &[u8], mode: PutMode) -> object_store::Result<()> {
        let path =
            self.path(name).map_err(|error| object_store::Error::Generic { store: "shelf", source: error.into() })?;
        self.store.put_opts(&path, PutPayload::from(bytes.to_vec()), mode.into()).await.map(drop)
    }

    async fn create(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        match self.write(name, bytes, PutMode::Create).await {
            Ok(()) | Err(object_store::Error::AlreadyExists { .. }) => {}
            // A store without conditional requests cannot tell two writers apart; one can look first.
            Err(error) if is_not_implemented(&error) => match self.read(name).await? {
                Some(there) if there == bytes => return Ok(()),
                Some(_) => return Err(other_bytes(name)),
                None => self.write(name, bytes, PutMode::Overwrite).await.map_err(into_io)?,
            },
            Err(error) => return Err(into_io(error)),
        }
        self.verify(name, bytes).await
    }
}

fn is_not_implemented(error: &object_store::Error) -> bool {
    match error {
        object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. } => true,
        object_store::Error::Generic { source, .. } => source.to_string().contains("501 Not Implemented"),
        _ => false,
    }
}

fn into_io(error: object_store::Error) -> io::Error {
    let kind = match &error {
        object_store::Error::NotFound { .. } => io::ErrorKind::NotFound,
        object_store::Error::AlreadyExists { .. } => io::ErrorKind::AlreadyExists,
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            io::ErrorKind::PermissionDenied
        }
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

impl Shelf for Bucket {
    fn put_new(&self, objects: &[(String, Vec<u8>)]) -> io::Result<()> {
        let puts = stream::iter(objects).map(|(name, bytes)| self.create(name, bytes));
        self.block_on(puts.buffer_unordered(AT_ONCE).try_collect())
    }

    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.block_on(async {
            self.write(name, bytes, PutMode::Overwrite).await.map_err(into_io)?;
            self.verify(name, bytes).await
        })
    }

    fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.block_on(self.read(name))
    }

    fn remove(&self, names: &[String]) -> io::Result<()> {
        let removals = stream::iter(names).map(|name| async {
            match self.store.delete(&self.path(name)?).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(into_io(error)),
            }
        });
        self.block_on(removals.buffer_unordered(AT_ONCE).try_collect())
    }
}

/// Gives the object store this program's HTTP client.
#[derive(Debug)]
struct Connector;

impl ConnectsHttp for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let failed =
            |source: Box<dyn std::error::Error + Send + Sync>| object_store::Error::Generic { store: "shelf", source };
        let tls = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(error.into()))?
            .with_native_roots()
            .map_err(|error| failed(error.into()))?
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIME_MAX));
        tcp.enforce_http(false);
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Ok(HttpClient::new(Http(client)))
    }
}

struct Http(Client<HttpsConnector<HttpConnector>, HttpRequestBody>);

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http")
    }
}

#[tonic::async_trait]
impl HttpService for Http {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answer = tokio::time::timeout(REQUEST_TIME_MAX, self.0.request(request)).await;
        let answer = answer.map_err(|error| HttpError::new(HttpErrorKind::Timeout, error))?.map_err(|error| {
            let kind = if error.is_connect() { HttpErrorKind::Connect } else { HttpErrorKind::Request };
            HttpError::new(kind, error)
        })?;
        let (parts, body) = answer.into_parts();
        let body = body.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error));
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body)))
    }
}
