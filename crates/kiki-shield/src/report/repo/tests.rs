use kiki_store::testing::on_both;

use super::purposes;
use crate::testing::{NOW, World, caller};

#[tokio::test]
async fn purposes_are_those_that_people_were_asked_for() {
    on_both(async |db| {
        let world = World::new(db).await;
        let row = "INSERT INTO consent_record (tenant, id, subject, purpose, channel, act, state, basis, text_version, \
             source, evidence, at) VALUES ('default', $1, 's', $2, '', $3, 'standing', 'consent', '1', 'api', $4, $5)";
        for (id, purpose, act) in [
            ("1", "marketing", "grant"),
            ("2", "marketing", "revoke"),
            ("3", "objected", "bar"),
            ("4", "objected", "unbar"),
        ] {
            let query = sqlx::query(row).bind(id).bind(purpose).bind(act).bind(Vec::<u8>::new()).bind(NOW.0);
            query.execute(world.store.pool()).await.unwrap();
        }
        let tenant = &caller("default").principal.tenant;
        let found = purposes(&world.store, tenant, (NOW, NOW.plus(1))).await.unwrap();
        assert_eq!(found, [(["marketing", "consent", "1"].map(str::to_owned), 1)]);
    })
    .await;
}
