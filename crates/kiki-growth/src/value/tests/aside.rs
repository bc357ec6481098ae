//! Long computations do not hold up the others.

use std::thread;
use std::time::Duration;

use kiki_store::testing::on_both;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::world::{World, about};
use crate::value::aside::MONTHS_MAX;

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn what_takes_long_is_computed_elsewhere_and_ends_when_nobody_waits() {
    on_both(async |db| {
        let value = World::new(&db.store).await.value;
        let here = thread::current().id();
        assert_eq!(value.aside(MONTHS_MAX, |_| thread::current().id()).await.unwrap(), here);
        assert_ne!(value.aside(MONTHS_MAX + 1.0, |_| thread::current().id()).await.unwrap(), here);
        let (begun, begins) = oneshot::channel();
        let (ended, ends) = oneshot::channel();
        let endless = value.aside(MONTHS_MAX + 1.0, |asker| {
            begun.send(()).unwrap();
            while !asker.is_gone() {
                thread::sleep(Duration::from_millis(1));
            }
            ended.send(()).unwrap();
        });
        tokio::select! {
            _ = endless => panic!("somebody waits"),
            begun = timeout(PATIENCE, begins) => begun.unwrap().unwrap(),
        }
        timeout(PATIENCE, ends).await.unwrap().unwrap();
    })
    .await;
}

#[tokio::test]
async fn long_answers_wait_for_each_other_and_short_ones_for_none() {
    on_both(async |db| {
        let world = World::fitted(&db.store).await;
        let processors = world.value.room.0.available_permits();
        let busy = world.value.room.0.acquire_many(u32::try_from(processors).unwrap()).await.unwrap();
        let long = world.batch((0..100).map(|_| about("0001", 5_200.0)).collect());
        let mut long = std::pin::pin!(long);
        let short = async {
            for _ in 0..20 {
                assert_eq!(world.batch(vec![about("0001", 52.0)]).await.unwrap().len(), 1);
                sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            _ = &mut long => panic!("there is no room for it"),
            () = short => {}
        }
        drop(busy);
        assert_eq!(timeout(PATIENCE, long).await.unwrap().unwrap().len(), 100);
    })
    .await;
}
