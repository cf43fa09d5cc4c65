//! `gantry doctor`: what stands between us and an archive, in words for whoever has to mend it.
//!
//! An examination goes the way that requests go, one step at a time: name, connection, TLS, association, C-ECHO, what is
//! accepted, searches, C-GET, C-MOVE back to us. It does no harm: one association at a time, as few matches as will do,
//! one instance of one series unless somebody asks for a study, nothing kept and no patient named.

mod advice;
mod bring;
mod contexts;
mod finding;
mod reach;
mod search;
mod talk;

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::lookup_host;
use tokio::time::{Instant, timeout};

use crate::archive::MoveDestination;
use crate::archive::dimse::config::{Config, Method};
use crate::dicom::Uid;
use crate::dicom::object::Head;
use crate::dicom::query::Target;
use crate::net::tls;
use bring::{Brought, Seen, bring};
use contexts::{Accepted, few};
use reach::Way;
use search::{Sample, Texts};
use talk::Talk;

pub use advice::{Entry, Return};
pub use finding::{Code, Finding, Level, Step};

/// C-ECHOs by which an exchange is measured.
const ECHOES: usize = 5;
/// An exchange that takes so much longer than a round trip waits for something: Nagle's algorithm against a delayed
/// acknowledgement takes 40 ms.
const NAGLE: Duration = Duration::from_millis(30);

/// What happens in the course of an examination.
#[derive(Debug)]
pub enum News<'a> {
    /// A step has begun.
    Begins(Step),
    /// It has found something.
    Found(&'a Finding),
}

/// Who is told of it while it happens.
pub type Watch = Box<dyn FnMut(News<'_>) + Send>;

/// What an examination comes to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The archive's name in the configuration.
    pub archive: String,
    /// The archive's AE title.
    pub ae_title: String,
    /// Its host and port.
    pub address: String,
    /// What was found, in order.
    pub findings: Vec<Finding>,
    /// What the PACS administrator has to enter.
    pub entry: Entry,
    /// A block of configuration that fits.
    pub suggested: String,
}

impl Report {
    /// The worst of it.
    pub fn worst(&self) -> Level {
        self.findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
    }
}

/// An examination under way.
pub struct Examination {
    config: Config,
    back: Return,
    /// The study to be retrieved as a whole.
    study: Option<Uid>,
    tls: Option<tls::Client>,
    watch: Watch,
    findings: Vec<Finding>,
    way: Option<Way>,
    accepted: Accepted,
    talk: Option<Talk>,
    texts: Texts,
    sample: Option<Sample>,
    get: Option<Brought>,
    moved: Option<Brought>,
    move_works: bool,
}

impl Examination {
    /// An examination of the archive that is configured so; `back`: where we take objects.
    pub fn new(config: Config, back: Return, study: Option<Uid>, watch: Watch) -> Self {
        let tls = config.tls.clone().map(tls::Client::new);
        Self {
            config,
            back,
            study,
            tls,
            watch,
            findings: Vec::new(),
            way: None,
            accepted: Accepted::default(),
            talk: None,
            texts: Texts::default(),
            sample: None,
            get: None,
            moved: None,
            move_works: false,
        }
    }

    /// Everything but C-MOVE. Afterwards either [`Examination::bring_back`], or [`Examination::found`] with what
    /// somebody else has found of the way back.
    pub async fn examine(&mut self) {
        self.begins(Step::Connect);
        let Some(mut talk) = self.reach(few()).await else { return };
        self.begins(Step::Echo);
        let is_alive = self.echo(&mut talk).await;
        self.begins(Step::Contexts);
        self.look_at_services(&talk);
        let talk = match is_alive {
            true => Some(talk),
            false => {
                talk.abort().await;
                None
            }
        };
        self.begins(Step::Find);
        self.search(talk).await;
        self.begins(Step::Contexts);
        self.look_at_storage().await;
        self.begins(Step::Get);
        self.bring_by_get().await;
    }

    /// What is to come back by C-MOVE; `None`: there is nothing that could, or no use in trying.
    pub fn to_move(&self) -> Option<(Target, Option<String>)> {
        let sample = self.sample.as_ref()?;
        self.accepted.moves(self.config.model)?;
        // Whose study it is, nobody is told who need not know.
        let patient = sample.patient.clone().filter(|_| self.accepted.is_patient_root_only());
        Some((self.target(sample), patient))
    }

    /// Why nothing is moved, where that is so.
    pub fn nothing_to_move(&mut self) {
        if self.way.is_none() || self.accepted.moves(self.config.model).is_none() {
            return;
        }
        let finding = Finding::new(Code::MoveUntried, "there is no study that could be moved")
            .means("whether objects come back here is not known")
            .remedy("give the UID of a study that is there by --study");
        self.found(finding);
    }

    /// C-MOVE to our own Storage SCP, whose moves these are.
    pub async fn bring_back(&mut self, moves: MoveDestination) {
        let Some((target, patient)) = self.to_move() else { return self.nothing_to_move() };
        self.begins(Step::Move);
        if let Some(peer) = self.way.map(|way| way.peer)
            && self.back.is_out_of_reach(peer.ip())
        {
            return self.out_of_reach();
        }
        let is_whole = self.study.is_some();
        let (brought, finding) = return_path(
            &self.config,
            moves,
            target,
            patient,
            Asked { is_whole, is_alone: true },
            &mut |_| (),
        )
        .await;
        self.moved = Some(brought);
        self.found(finding);
    }

    /// Adds a finding.
    pub fn found(&mut self, finding: Finding) {
        let get_works = self.get.as_ref().is_some_and(Brought::works);
        let finding = if finding.step == Step::Move {
            bring::softened(finding, &self.config, get_works)
        } else {
            finding
        };
        self.move_works |= finding.code == Code::MoveWorks;
        (self.watch)(News::Found(&finding));
        self.findings.push(finding);
    }

    /// The verdict, and what to do about it.
    pub fn conclude(mut self) -> Report {
        self.begins(Step::Retrieval);
        self.judge();
        let Config { name, ae_title, address, .. } = &self.config;
        let mut report = Report {
            archive: name.clone(),
            ae_title: ae_title.to_string(),
            address: address.clone(),
            findings: std::mem::take(&mut self.findings),
            entry: self.entry(),
            suggested: String::new(),
        };
        report.suggested = self.suggested(&report);
        report
    }

    fn begins(&mut self, step: Step) {
        (self.watch)(News::Begins(step));
    }

    /// What is retrieved: the whole study where somebody asks for it, else one instance of it.
    fn target(&self, sample: &Sample) -> Target {
        match &self.study {
            Some(study) => Target { study: study.clone(), series: None, instance: None },
            None => sample.target(),
        }
    }

    /// Whether the association can go on afterwards.
    async fn echo(&mut self, talk: &mut Talk) -> bool {
        let mut times = Vec::new();
        for _ in 0..ECHOES {
            match talk.echo().await {
                Ok((0, took)) => times.push(took),
                Ok((code, _)) => {
                    self.found(Finding::new(
                        Code::EchoFailed,
                        format!("C-ECHO is answered with status {code:04X}"),
                    ));
                    return true;
                }
                Err(trouble @ talk::Trouble::NotAccepted) => {
                    let finding = Finding::new(Code::EchoFailed, format!("C-ECHO: {trouble}"))
                        .means("every archive has to take C-ECHO; searches may work all the same");
                    self.found(finding);
                    return true;
                }
                Err(trouble) => {
                    self.found(Finding::new(Code::EchoFailed, format!("C-ECHO: {trouble}")));
                    return false;
                }
            }
        }
        times.sort();
        let middle = times[times.len() / 2];
        let what = format!("the archive answers; the middle one of {ECHOES} exchanges");
        self.found(Finding::new(Code::Echoed, what).took(middle));
        let round_trip = self.way.map_or(Duration::ZERO, |way| way.round_trip);
        if middle > round_trip * 2 + NAGLE {
            let finding = Finding::new(Code::SlowExchange, format!(
                "an exchange takes {:.0} ms, a connection {:.1} ms",
                middle.as_secs_f64() * 1e3,
                round_trip.as_secs_f64() * 1e3
            ))
            .means("the archive, or something between, waits before it answers: often Nagle's algorithm against delayed acknowledgements, which costs every object as long")
            .remedy("have TCP_NODELAY set at the archive, if it can be (DCMTK: the environment variable TCP_NODELAY=1)");
            self.found(finding);
        }
        true
    }

    async fn bring_by_get(&mut self) {
        let Some(sample) = self.sample.clone() else {
            if self.way.is_some() && self.accepted.get(self.config.model).is_some() {
                let finding = Finding::new(Code::GetUntried, "there is no study that could be retrieved")
                    .remedy("give the UID of a study that is there by --study");
                self.found(finding);
            }
            return;
        };
        if self.accepted.get(self.config.model).is_none() {
            let finding = Finding::new(Code::GetRefused, "C-GET is not accepted")
                .means("objects come by C-MOVE only, for which the archive must be able to reach us")
                .remedy(format!(
                    "where C-MOVE works, nothing; else have C-GET allowed for {}",
                    self.config.calling
                ));
            return self.found(finding);
        }
        let (target, is_whole) = (self.target(&sample), self.study.is_some());
        let brought =
            bring(&self.config, Method::Get, None, target, sample.patient.clone(), is_whole, &mut |_| ())
                .await;
        let finding = bring::of_get(&self.config, &brought);
        self.get = Some(brought);
        self.found(finding);
    }

    fn out_of_reach(&mut self) {
        let listen = self.back.listen;
        let finding = Finding::new(
            Code::ListenLoopback,
            format!("we listen on {listen}, which is this machine alone"),
        )
        .means("an archive on another machine cannot bring objects here by C-MOVE")
        .remedy(format!(
            "set dimse.listen = \"0.0.0.0:{}\", or the address of this machine's that the archive reaches",
            listen.port()
        ));
        self.found(finding);
    }

    fn judge(&mut self) {
        if self.accepted.find(self.config.model).is_none() {
            return;
        }
        let get_works = self.get.as_ref().is_some_and(Brought::works);
        let by_method = match self.config.retrieve {
            Method::Get => get_works,
            Method::Move => self.move_works,
            Method::Auto => get_works || self.move_works,
        };
        let how = match (get_works, self.move_works) {
            (true, true) => "by C-GET, and by C-MOVE",
            (true, false) => "by C-GET",
            (false, true) => "by C-MOVE",
            (false, false) => "by nothing that was tried",
        };
        let finding = if by_method {
            Finding::new(Code::RetrievalWorks, format!("objects come {how}"))
        } else if get_works || self.move_works {
            Finding::new(
                Code::RetrievalImpossible,
                format!("objects come {how}, which is not what is configured"),
            )
            .means("viewers get nothing from this archive")
            .remedy(format!(
                "set archive.{}.retrieve = \"auto\", or mend what stands above",
                self.config.name
            ))
        } else if self.sample.is_none() {
            Finding::new(Code::RetrievalUntried, "retrieval was not tried: no study is known")
                .remedy("give the UID of a study that is there by --study")
        } else {
            Finding::new(Code::RetrievalImpossible, "objects come neither by C-GET nor by C-MOVE")
                .means("viewers get nothing from this archive")
                .remedy("mend what stands above under C-MOVE or C-GET: one of them is enough")
        };
        self.found(finding);
        let rates = [("C-GET", &self.get), ("C-MOVE", &self.moved)];
        let rate = |(how, brought): (&str, &Option<Brought>)| {
            let rate = brought.as_ref()?.rate()?;
            Some(format!("{:.1} MB/s by {how}", rate / 1e6))
        };
        let rates: Vec<String> = rates.into_iter().filter_map(rate).collect();
        if !rates.is_empty() {
            self.found(Finding::new(Code::Rate, rates.join(", ")));
        }
    }
}

/// How the way back is tried.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// What is moved is brought to its end.
    is_whole: bool,
    /// Nobody else comes to our Storage SCP, so that whoever came is the archive.
    is_alone: bool,
}

/// Has the archive move something to us, and says what that shows of the way back.
async fn return_path(
    config: &Config,
    moves: MoveDestination,
    target: Target,
    patient: Option<String>,
    Asked { is_whole, is_alone }: Asked,
    seen: Seen<'_>,
) -> (Brought, Finding) {
    let begin = Instant::now();
    let brought = bring(config, Method::Move, Some(moves.clone()), target, patient, is_whole, seen).await;
    let mut knocks = moves.knocks_since(begin);
    if !is_alone {
        let found = timeout(config.timeouts.connect, lookup_host(&config.address)).await;
        let addresses: Vec<IpAddr> =
            found.into_iter().flatten().flatten().map(|address| address.ip().to_canonical()).collect();
        knocks.retain(|knock| {
            knock.calling == config.ae_title || addresses.contains(&knock.address.to_canonical())
        });
    }
    let (title, at) = (moves.title().as_str(), moves.reachable_at());
    let finding = bring::of_move(config, title, at, &brought, &knocks);
    (brought, finding)
}

/// What a bridge that runs finds when it has the archive move `target` to itself; `seen` is told of each object that has
/// come whole.
pub async fn try_return_path(
    config: &Config,
    moves: MoveDestination,
    target: Target,
    patient: Option<String>,
    mut seen: impl FnMut(&Head) + Send,
) -> Finding {
    return_path(config, moves, target, patient, Asked { is_whole: false, is_alone: false }, &mut seen).await.1
}

impl fmt::Debug for Examination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Examination").field("archive", &self.config.name).finish_non_exhaustive()
    }
}
