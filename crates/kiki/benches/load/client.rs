//! The client: asks as fast as it is answered (closed loop), or at times that were fixed beforehand (open loop).

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::server::Server;

/// How long the last of an open loop may take to be answered.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
/// The clock of arrivals ticks no faster: what is due within is sent together.
const PACE: Duration = Duration::from_micros(50);

/// What the connections of a load ask.
pub(crate) trait Requests: Send + Sync + 'static {
    /// The next request, as it goes over the wire.
    fn next(&self, random: &mut SmallRng) -> Cow<'_, str>;

    /// Sees the body of an answer.
    fn answered(&self, _body: &[u8]) {}
}

/// Always the same.
impl Requests for String {
    fn next(&self, _: &mut SmallRng) -> Cow<'_, str> {
        Cow::Borrowed(self)
    }
}

/// A request with a JSON body, as it goes over the wire.
pub(crate) fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// Requests a second and in all, asked by so many connections that each wait for their answer.
pub(crate) async fn rate(
    address: SocketAddr,
    requests: &Arc<impl Requests>,
    connections: usize,
    round: Duration,
) -> (f64, u32) {
    let mut clients = JoinSet::new();
    let begin = Instant::now();
    for number in 0..connections {
        let requests = Arc::clone(requests);
        clients.spawn(async move {
            let mut connection = Connection::open(address, number).await;
            let mut answered = 0;
            while begin.elapsed() < round {
                connection.ask(&*requests).await;
                answered += 1;
            }
            answered
        });
    }
    let answered: u32 = clients.join_all().await.into_iter().sum();
    (f64::from(answered) / begin.elapsed().as_secs_f64(), answered)
}

/// Requests a second, and the server's CPU time for one in microseconds where the machine tells it.
pub(crate) async fn measured(
    server: &Server,
    requests: &Arc<impl Requests>,
    connections: usize,
    round: Duration,
) -> (f64, Option<f64>) {
    let before = server.cpu_time();
    let (rate, answered) = rate(server.address, requests, connections, round).await;
    let spent = before.and_then(|before| Some(server.cpu_time()? - before));
    (rate, spent.map(|spent| spent.as_secs_f64() * 1e6 / f64::from(answered)))
}

/// When requests come, counted from the begin of a round.
pub(crate) struct Arrivals(Arc<[Duration]>);

impl Arrivals {
    /// Independent of one another, `rate` a second on average; the same for the same `seed`.
    pub(crate) fn poisson(rate: f64, round: Duration, seed: usize) -> Self {
        let mut random = SmallRng::seed_from_u64(seed as u64);
        let gaps = std::iter::repeat_with(|| Duration::from_secs_f64(-(1.0 - random.random::<f64>()).ln() / rate));
        let times = gaps.scan(Duration::ZERO, |time, gap| {
            *time += gap;
            (*time < round).then_some(*time)
        });
        Self(times.collect())
    }
}

/// The times in milliseconds from each arrival to its answer, ascending. An arrival that finds no free connection
/// waits, and that counts.
pub(crate) async fn latencies(
    address: SocketAddr,
    requests: &Arc<impl Requests>,
    connections: usize,
    arrivals: &Arrivals,
) -> Vec<f64> {
    let (due, next) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut opened = Vec::new();
    for number in 0..connections {
        opened.push(Connection::open(address, number).await);
    }
    let begin = Instant::now();
    let mut clients = JoinSet::new();
    for mut connection in opened {
        let (due, next, times, requests) = (due.clone(), next.clone(), arrivals.0.clone(), Arc::clone(requests));
        clients.spawn(async move {
            let mut latencies = Vec::new();
            // Each is let go on once more after the last arrival.
            while let Ok(permit) = due.acquire().await {
                permit.forget();
                let Some(arrival) = times.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                connection.ask(&*requests).await;
                latencies.push((begin.elapsed() - *arrival).as_secs_f64() * 1e3);
            }
            latencies
        });
    }
    let pacing = {
        let (times, due) = (arrivals.0.clone(), due.clone());
        std::thread::spawn(move || pace(begin, &times, connections, &due))
    };
    let mut latencies =
        tokio::time::timeout(ANSWER_TIME_MAX, clients.join_all()).await.expect("all are answered").concat();
    pacing.join().unwrap();
    assert_eq!(latencies.len(), arrivals.0.len());
    latencies.sort_by(f64::total_cmp);
    latencies
}

/// Lets a connection go on for each arrival, and at the end each connection once more, to see that no more comes.
fn pace(begin: Instant, times: &[Duration], connections: usize, due: &Semaphore) {
    let mut released = 0;
    while released < times.len() {
        let now = begin.elapsed();
        let until = released + times[released..].partition_point(|time| *time <= now);
        due.add_permits(until - released);
        released = until;
        if let Some(next) = times.get(released) {
            std::thread::sleep(next.saturating_sub(begin.elapsed()).max(PACE));
        }
    }
    due.add_permits(connections);
}

/// A connection and what was read from it last.
pub(crate) struct Connection {
    stream: TcpStream,
    random: SmallRng,
    buffer: Vec<u8>,
}

impl Connection {
    /// What it draws is the same for the same `seed`.
    pub(crate) async fn open(address: SocketAddr, seed: usize) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, random: SmallRng::seed_from_u64(seed as u64), buffer: Vec::with_capacity(4096) }
    }

    async fn ask(&mut self, requests: &impl Requests) {
        let request = requests.next(&mut self.random);
        requests.answered(self.call(&request).await);
    }

    /// Sends a request and reads the answer whole, which must be a success; its body.
    pub(crate) async fn call(&mut self, request: &str) -> &[u8] {
        self.stream.write_all(request.as_bytes()).await.unwrap();
        let Self { stream, buffer, .. } = self;
        buffer.clear();
        loop {
            assert!(stream.read_buf(buffer).await.unwrap() > 0, "the server closed");
            let Some(head) = buffer.windows(4).position(|end| end == b"\r\n\r\n") else { continue };
            let text = std::str::from_utf8(&buffer[..head]).unwrap();
            assert!(text.starts_with("HTTP/1.1 20"), "{}", String::from_utf8_lossy(buffer));
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            let (body, length) = (head + 4, length.parse::<usize>().unwrap());
            if buffer.len() >= body + length {
                return &buffer[body..body + length];
            }
        }
    }
}
