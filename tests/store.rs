//! What every store has to do, asked of each implementation; and what the embedded one promises besides.

#[path = "store_support/events.rs"]
mod events;
#[path = "store_support/world.rs"]
mod world;

/// One list of tests for each implementation.
macro_rules! conformance {
    ($name:ident, $open:path, $($module:ident :: { $($test:ident),* $(,)? })*) => {
        mod $name {
            $(mod $module {
                $(#[tokio::test]
                async fn $test() {
                    crate::$module::$test($open().await).await;
                })*
            })*
        }
    };
}

conformance! {
    sqlite, crate::world::sqlite,
    events::{
        an_event_is_stored_with_its_tasks,
    }
}
