//! Shared parts of the benchmarks: arguments, medians and spread, and printed lines.

#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::{path::Path, time::Duration};

/// usersync's own allocator.
#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Returns whether only a smoke test is wanted, as with `cargo test --all-targets`; `cargo bench` passes `--bench`.
pub fn is_smoke() -> bool {
    let mut bench = false;
    for argument in std::env::args() {
        match argument.as_str() {
            "--test" => return true,
            "--bench" => bench = true,
            _ => {}
        }
    }
    !bench
}

/// Returns the arguments after this word on the command line.
pub fn after(word: &str) -> Option<Vec<String>> {
    let mut arguments = std::env::args().skip_while(|argument| argument != word);
    arguments.next()?;
    Some(arguments.collect())
}

/// Returns a number from the environment.
pub fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Returns a folder on a real disk, beside the build output; never in memory.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("a folder")
}

/// Returns the runtime of the measured side.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime")
}

/// Returns a duration in milliseconds.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// Returns the value below which this share of all values lies.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let at = (share * (sorted.len().saturating_sub(1)) as f64).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

/// Returns the median.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// Both sides of a measurement, taken in turn.
#[derive(Default)]
pub struct Sides {
    ours: Vec<f64>,
    bare: Vec<f64>,
}

impl Sides {
    /// Adds one round.
    pub fn push(&mut self, ours: f64, bare: f64) {
        self.ours.push(ours);
        self.bare.push(bare);
    }

    /// Returns the median of the rounds' ratios: a machine that is busy for a while slows both sides of a round.
    pub fn ratio(&self) -> f64 {
        median(&self.ratios())
    }

    fn ratios(&self) -> Vec<f64> {
        self.ours.iter().zip(&self.bare).map(|(ours, bare)| ours / bare).collect()
    }

    /// Prints both sides and their ratio.
    pub fn print(&self, name: &str, unit: &str) {
        let spread = |values: &[f64]| {
            let (low, high) = (quantile(values, 0.25), quantile(values, 0.75));
            format!("{:.2} {unit} (quartiles {low:.2} to {high:.2})", median(values))
        };
        let ratios = self.ratios();
        println!(
            "{name}: {} rounds; ours {}; bare {}; ratios {:.3} to {:.3} (quartiles)",
            ratios.len(),
            spread(&self.ours),
            spread(&self.bare),
            quantile(&ratios, 0.25),
            quantile(&ratios, 0.75),
        );
        println!("ratio {name} {:.3}", self.ratio());
    }
}
