//! Kill with -9 at random times, and at each kind of write to each kind of target. This binary runs itself again as the
//! process that is killed.

mod at_each_write;
mod at_random;
mod child;
mod deeds;
mod scene;

fn main() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    match std::env::var(child::ORDERS) {
        Ok(orders) => runtime.block_on(child::live(&orders)),
        // As tools that list tests ask the test harness.
        Err(_) if std::env::args().any(|argument| argument == "--list") => println!("kill: test"),
        Err(_) => runtime.block_on(async {
            at_random::kill_again_and_again().await;
            at_each_write::cut_off_every_write().await;
        }),
    }
}
