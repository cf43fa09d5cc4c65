//! Images that are made wrong in every way that chance finds, behind a bridge: whatever is asked for of them, there is an
//! answer in time, and it is a right one or an error; the bridge goes on, and holds little.
//!
//! `GANTRY_HOSTILE=10000` asks for so many of them, `GANTRY_BRIDGE=target/release/gantry` of that program; with `--nocapture`
//! the table of docs/codecs.md is printed.

mod answers;
mod mutation;
mod seeds;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::task::JoinSet;

use self::answers::{Answers, QUESTIONS, is_right, problems};
use self::mutation::{Mutant, Seed};
use crate::support::http::{Version, get_with};
use crate::support::measured::Measured;

/// How many objects there are, unless it is said otherwise.
const MUTANTS: usize = 500;
/// What says otherwise.
const HOW_MANY: &str = "GANTRY_HOSTILE";
/// Objects that are asked about at the same time.
const AT_ONCE: usize = 4;
/// Objects that the archive is given at a time.
const BATCH: usize = 200;
/// Longest that an answer may take, in a debug build beside other tests.
const PATIENCE: Duration = Duration::from_secs(30);
/// What the bridge may have held at any time, in KiB, with a cache of 64 MiB.
const MOST_MEMORY: u64 = 512 << 10;
/// What is asked, and who is.
struct Scene(Measured);

impl Scene {
    /// Gives the archive these objects, and asks everything about each; what came, in their order.
    async fn ask(&self, mutants: Vec<Mutant>) -> Vec<(Mutant, Answers)> {
        self.0.archive.add(mutants.iter().map(|mutant| mutant.instance.clone()));
        let (mut waiting, mut open) = (mutants.into_iter().enumerate(), JoinSet::new());
        let mut answered = BTreeMap::new();
        loop {
            while open.len() < AT_ONCE {
                let Some((number, mutant)) = waiting.next() else { break };
                open.spawn(asked(self.0.http, number, mutant));
            }
            let Some(done) = open.join_next().await else { return answered.into_values().collect() };
            let (number, mutant, answers) = done.unwrap();
            answered.insert(number, (mutant, answers));
        }
    }
}

/// Asks everything about an object.
async fn asked(http: SocketAddr, number: usize, mutant: Mutant) -> (usize, Mutant, Answers) {
    let mut answers = Vec::new();
    for question in &QUESTIONS {
        let begin = Instant::now();
        let path = question.path(&mutant.instance);
        let reply = get_with(http, &path, Version::Http11, &format!("Accept: {}", question.accept)).await;
        let took = begin.elapsed();
        assert!(took < PATIENCE, "{}, {}: {took:?}", mutant.what, question.name);
        answers.push((took, reply));
    }
    (number, mutant, answers)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_hostile_images_are_errors_or_right_pictures_in_bounded_time_and_memory() {
    let count = std::env::var(HOW_MANY).map_or(MUTANTS, |count| count.parse().unwrap());
    let seeds: Arc<[Seed]> = tokio::task::spawn_blocking(seeds::all).await.unwrap().into();
    let scene = Scene(Measured::start(Vec::new(), "64MiB").await);
    let begin = Instant::now();
    let originals = (0..seeds.len()).map(|at| seeds[at].original(at, at).unwrap()).collect();
    let originals = scene.ask(originals).await;
    let mut tally = Tally::default();
    for (original, answers) in &originals {
        tally.add(&seeds, original, answers, answers);
    }
    let mut random = StdRng::seed_from_u64(0x47_41_4E_54_52_59);
    let mut numbers = (seeds.len()..seeds.len() + count).peekable();
    while numbers.peek().is_some() {
        let batch = numbers.by_ref().take(BATCH);
        let mutants = batch.map(|number| {
            let at = number % seeds.len();
            seeds[at].mutant(at, number, &mut random)
        });
        for (mutant, answers) in scene.ask(mutants.collect()).await {
            tally.add(&seeds, &mutant, &answers, &originals[mutant.seed].1);
        }
    }
    let most = scene.0.most_memory();
    println!(
        "{tally}\n{count} objects of {} kinds in {:?}, {most} KiB at most",
        seeds.len(),
        begin.elapsed()
    );
    let Scene(Measured { mut bridge, .. }) = scene;
    assert!(bridge.server.ended().is_none(), "the bridge has ended");
    let log = bridge.server.whole_log();
    // jxl-oxide has assertions that codestreams can reach; they are a refusal.
    let panics: Vec<_> =
        log.lines().filter(|line| line.contains("panicked at") && !line.contains("/jxl-")).collect();
    assert!(panics.is_empty() && tally.problems.is_empty(), "{panics:#?} {:#?}", tally.problems);
    assert!(most < MOST_MEMORY, "{most} KiB");
    let answers = (count + seeds.len()) * QUESTIONS.len();
    assert!(
        tally.right * 4 > answers && tally.errors * 8 > answers,
        "{} right, {} errors",
        tally.right,
        tally.errors
    );
    assert!(tally.harmless * 20 > count, "{} compared", tally.harmless);
}

/// How objects were answered.
#[derive(Default)]
struct Tally {
    /// For each question, how often each status came.
    statuses: BTreeMap<(usize, String), usize>,
    right: usize,
    errors: usize,
    /// Of objects whose pixels and their description did not change.
    harmless: usize,
    slowest: Duration,
    problems: Vec<String>,
}

impl Tally {
    fn add(&mut self, seeds: &[Seed], mutant: &Mutant, answers: &Answers, original: &Answers) {
        for (at, (took, reply)) in answers.iter().enumerate() {
            let off = if reply.whole { "" } else { " broken off" };
            *self.statuses.entry((at, format!("{}{off}", reply.status))).or_default() += 1;
            *(if is_right(reply) { &mut self.right } else { &mut self.errors }) += 1;
            self.slowest = self.slowest.max(*took);
        }
        self.harmless += usize::from(mutant.is_harmless);
        let name =
            format!("{} {}, {}", mutant.instance.head.sop_instance, seeds[mutant.seed].name, mutant.what);
        self.problems.extend(problems(mutant, answers, original).iter().map(|it| format!("{name}: {it}")));
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, question) in QUESTIONS.iter().enumerate() {
            let of_it = self.statuses.iter().filter(|((of, _), _)| *of == at);
            let counts: Vec<_> = of_it.map(|((_, status), count)| format!("{count} × {status}")).collect();
            writeln!(f, "| {} | {} |", question.name, counts.join(", "))?;
        }
        write!(f, "slowest {:?}, harmless {}", self.slowest, self.harmless)
    }
}
