//! What is asked over gRPC, each about customers at random.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use kiki_proto::value::v1::predict_ltv_request::Who;
use kiki_proto::value::v1::value_service_client::ValueServiceClient;
use kiki_proto::value::v1::{PredictLtvBatchRequest, PredictLtvRequest};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};

use super::world::name;

/// Connections, each with a share of the callers.
const CHANNELS: usize = 4;

/// How customers are asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// A call for each.
    One,
    /// So many a call.
    Batch(usize),
    /// So many a stream, sent without waiting for answers.
    Stream(usize),
}

/// Predictions a second, asked by so many callers that each wait for their answer.
pub(crate) async fn rate(address: SocketAddr, customers: usize, way: Way, callers: usize, round: Duration) -> f64 {
    let mut channels = Vec::new();
    for _ in 0..CHANNELS.min(callers) {
        channels.push(Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap());
    }
    let mut clients = JoinSet::new();
    let begin = Instant::now();
    for number in 0..callers {
        let client = ValueServiceClient::new(channels[number % channels.len()].clone());
        let client = client.max_decoding_message_size(usize::MAX);
        clients.spawn(async move {
            let (mut client, mut random) = (client, SmallRng::seed_from_u64(number as u64));
            let mut answered = 0;
            while begin.elapsed() < round {
                answered += ask(&mut client, way, &mut || about(random.random_range(0..customers))).await;
            }
            answered
        });
    }
    let answered: usize = clients.join_all().await.into_iter().sum();
    answered as f64 / begin.elapsed().as_secs_f64()
}

async fn ask(
    client: &mut ValueServiceClient<Channel>,
    way: Way,
    next: &mut (dyn FnMut() -> PredictLtvRequest + Send),
) -> usize {
    match way {
        Way::One => {
            client.predict_ltv(next()).await.unwrap();
            1
        }
        Way::Batch(size) => {
            let requests = (0..size).map(|_| next()).collect();
            client.predict_ltv_batch(PredictLtvBatchRequest { requests }).await.unwrap().into_inner().responses.len()
        }
        Way::Stream(size) => {
            let requests: Vec<_> = (0..size).map(|_| next()).collect();
            let answers = client.predict_ltv_stream(stream::iter(requests)).await.unwrap().into_inner();
            let answered = answers.map(Result::unwrap).count().await;
            assert_eq!(answered, size);
            answered
        }
    }
}

fn about(customer: usize) -> PredictLtvRequest {
    PredictLtvRequest { who: Some(Who::CustomerId(name(customer))), ..PredictLtvRequest::default() }
}
