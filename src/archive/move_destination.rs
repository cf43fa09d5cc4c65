//! Which C-MOVE an inbound object belongs to: the bridge is the destination of all moves of all archives.
//!
//! An object is given to a retrieval only if it may come from that retrieval's archive, its study (and series
//! and instance) is what was asked for, and nothing speaks against it: not its Move Originator, not the
//! calling title, not a move that was given up lately. A client that is known by its title sends its own objects,
//! also from an archive's address. Two moves whose targets overlap are never under way
//! at once, whichever archives they are of, so that one object can never belong to two of them.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Form;
use super::collector::{Collector, Waiting};
use super::dimse::config::{Config, StoreFrom};
use crate::current::Current;
use crate::dicom::head::Identifiers;
use crate::dicom::object::Head;
use crate::dicom::query::Target;
use crate::dicom::{AeTitle, Uid, transfer_syntax};

/// How long the objects of a move that was given up may still come.
const LEFTOVERS: Duration = Duration::from_secs(60);
/// Most ended moves that are remembered.
const MOST_ENDED: usize = 4096;
/// Most associations that are remembered, for who wonders why nothing comes.
const MOST_KNOCKS: usize = 64;

/// The bridge's Storage SCP as the destination of C-MOVEs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct MoveDestination {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    title: AeTitle,
    reachable_at: String,
    parties: Current<Parties>,
    state: Mutex<State>,
    /// A move has ended.
    ended: Notify,
}

/// Who is known.
#[derive(Debug)]
struct Parties {
    /// Archives by the titles that they send from.
    archives: Vec<Sender>,
    /// Titles of clients: what they send is no archive's, unless it sends under such a title itself.
    clients: BTreeSet<AeTitle>,
}

#[derive(Debug, Default)]
struct State {
    live: Vec<Entry>,
    ended: VecDeque<Ended>,
    last_id: u16,
    /// Who has asked for an association lately, in order.
    knocks: VecDeque<Knock>,
    /// Who waits to register, in order.
    waiting: Vec<Ticket>,
    last_ticket: u64,
}

/// A place among those that wait to register.
#[derive(Debug, Clone)]
struct Ticket {
    number: u64,
    archive: String,
    addresses: Vec<IpAddr>,
    form: Form,
}

/// Gives its ticket back.
#[derive(Debug)]
struct Place {
    shared: Arc<Shared>,
    number: u64,
}

/// Where an archive's objects may come from.
#[derive(Debug, Clone)]
struct Sender {
    archive: String,
    title: AeTitle,
    /// Who asks it to move.
    calling: AeTitle,
    store_from: Vec<StoreFrom>,
}

#[derive(Debug)]
struct Entry {
    id: u16,
    sender: Sender,
    addresses: Vec<IpAddr>,
    calling: AeTitle,
    form: Form,
    collector: Arc<Collector>,
}

/// A move that has ended.
#[derive(Debug)]
struct Ended {
    id: u16,
    sender: Sender,
    addresses: Vec<IpAddr>,
    calling: AeTitle,
    target: Target,
    /// Objects of it may still come.
    open: bool,
    until: Instant,
}

/// Somebody has asked for an association with our Storage SCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Knock {
    /// When.
    pub at: Instant,
    /// Its address.
    pub address: IpAddr,
    /// The title that it calls itself.
    pub calling: AeTitle,
    /// Why it was turned away; `None`: it was let in.
    pub refused: Option<&'static str>,
}

/// Where an object comes from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The sender's address.
    pub address: IpAddr,
    /// The sender's calling AE title.
    pub calling: AeTitle,
    /// Move Originator Application Entity Title and Message ID (PS3.7 9.1.1.1), where the sender says.
    pub originator: Option<(AeTitle, u16)>,
}

/// Whose an object is.
#[derive(Debug)]
pub(super) enum Claim {
    /// A retrieval's.
    Live {
        /// The retrieval.
        collector: Arc<Collector>,
        /// The Move Originator says so too.
        correlated: bool,
    },
    /// A retrieval's that has been given up.
    Leftover,
    /// Nobody's.
    Unknown,
}

/// A move that is under way. Dropped, it is one that was given up, unless [`Registration::settled`].
#[derive(Debug)]
pub(super) struct Registration {
    shared: Arc<Shared>,
    id: u16,
    settled: bool,
}

impl MoveDestination {
    /// The destination `title` of the C-MOVEs of these archives, reachable for them at `reachable_at`. `clients` are
    /// the titles under which others are known to send objects of their own.
    pub fn new<'a>(
        title: AeTitle,
        reachable_at: &str,
        archives: impl IntoIterator<Item = &'a Config>,
        clients: impl IntoIterator<Item = AeTitle>,
    ) -> Self {
        let shared = Shared {
            title,
            reachable_at: reachable_at.to_owned(),
            parties: Current::new(Parties::of(archives, clients)),
            state: Mutex::default(),
            ended: Notify::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// From now on these archives and clients are known. Moves that are under way go on.
    pub fn acquaint<'a>(
        &self,
        archives: impl IntoIterator<Item = &'a Config>,
        clients: impl IntoIterator<Item = AeTitle>,
    ) {
        self.shared.parties.set(Parties::of(archives, clients));
    }

    /// The title that archives are told to move to.
    pub fn title(&self) -> &AeTitle {
        &self.shared.title
    }

    /// Host and port at which archives reach it, as far as we know.
    pub fn reachable_at(&self) -> &str {
        &self.shared.reachable_at
    }

    /// Somebody has asked for an association with the Storage SCP.
    pub fn knock(&self, address: IpAddr, calling: &AeTitle, refused: Option<&'static str>) {
        let mut state = self.shared.lock();
        if state.knocks.len() >= MOST_KNOCKS {
            state.knocks.pop_front();
        }
        let (at, calling) = (Instant::now(), calling.clone());
        state.knocks.push_back(Knock { at, address, calling, refused });
    }

    /// Who has asked for an association since then; of many, the last ones.
    pub fn knocks_since(&self, since: Instant) -> Vec<Knock> {
        self.shared.lock().knocks.iter().filter(|knock| knock.at >= since).cloned().collect()
    }

    /// What a PACS administrator has to enter.
    pub(super) fn advice(&self) -> String {
        let Shared { title, reachable_at, .. } = &*self.shared;
        format!("add AE title {title} at {reachable_at} to the move destinations of the archive")
    }

    /// How many moves are under way.
    pub fn under_way(&self) -> usize {
        self.shared.lock().live.len()
    }

    /// The transfer syntax to accept of those proposed in one context, for an association from `origin`:
    /// the proposer's order counts, but never lossy where lossless or native is offered. Where everybody who
    /// waits for this sender wants native objects only, compressed ones are not taken, so that the archive
    /// decompresses; lossy ones are, as they are stored (PS3.18 8.7.3.4).
    pub fn choose_syntax(&self, address: IpAddr, calling: &AeTitle, proposed: &[Uid]) -> Option<Uid> {
        let state = self.shared.lock();
        let mut forms = (state.live.iter())
            .filter(|e| self.shared.may_send(&e.sender, &e.addresses, address, calling))
            .map(|e| e.form)
            .peekable();
        let native_only = forms.peek().is_some() && forms.all(|form| form == Form::Native);
        let lossless = proposed.iter().find(|s| {
            if native_only { transfer_syntax::is_native(s) } else { !transfer_syntax::is_lossy(s) }
        });
        let lossy = || proposed.iter().find(|s| transfer_syntax::is_lossy(s));
        let only_lossy = proposed.iter().all(transfer_syntax::is_lossy);
        lossless.or_else(|| if !native_only || only_lossy { lossy() } else { None }).cloned()
    }

    /// Waits until no move with an overlapping target is under way, nor one of another form from where this
    /// one's objects come, then registers one. An archive sends objects of several moves over one association,
    /// whose syntaxes are agreed on before anybody knows whose they are: so moves for native objects and for
    /// stored ones take turns. `calling`: the title under which the archive is asked, and which it names as originator.
    ///
    /// # Errors
    /// `None`: it took until `deadline`.
    pub(super) async fn register(
        &self,
        config: &Config,
        calling: &AeTitle,
        form: Form,
        collector: &Arc<Collector>,
        deadline: Instant,
    ) -> Option<Registration> {
        let sender = Sender::of(config);
        let address = config.retrieve_from.as_ref().map_or(&config.address, |e| &e.address);
        let addresses = timeout_at(deadline, tokio::net::lookup_host(address)).await.ok()?;
        let addresses: Vec<IpAddr> = addresses.into_iter().flatten().map(|a| a.ip().to_canonical()).collect();
        let place = self.shared.queue_up(Ticket {
            number: 0,
            archive: sender.archive.clone(),
            addresses: addresses.clone(),
            form,
        });
        loop {
            let ended = self.shared.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            let (blocked_until, _waiting) = {
                let mut state = self.shared.lock();
                state.forget(Instant::now());
                let ticket = state.waiting.iter().find(|t| t.number == place.number)?.clone();
                match state.blocked(&ticket, collector.target()) {
                    None => {
                        let id = state.fresh_id()?;
                        let (collector, calling) = (Arc::clone(collector), calling.clone());
                        state.live.push(Entry { id, sender, addresses, calling, form, collector });
                        let shared = Arc::clone(&self.shared);
                        return Some(Registration { shared, id, settled: false });
                    }
                    // Who holds this one up has less patience with a reader that stalls.
                    Some(until) => {
                        (until.unwrap_or(deadline).min(deadline), state.wait_for(&ticket, collector.target()))
                    }
                }
            };
            tokio::select! {
                () = ended => {}
                () = sleep_until(blocked_until) => if Instant::now() >= deadline { return None },
            }
        }
    }

    /// Whether a move is under way, or may have left something behind, whose objects may come from there. A
    /// move is registered before its request is sent, so what is not expected now never will be.
    pub fn expects(&self, origin: &Origin) -> bool {
        let shared = &self.shared;
        let mut state = shared.lock();
        state.forget(Instant::now());
        let from = |sender, addresses| shared.may_send(sender, addresses, origin.address, &origin.calling);
        state.live.iter().any(|e| from(&e.sender, &e.addresses))
            || state.ended.iter().any(|e| from(&e.sender, &e.addresses))
    }

    /// Whether the Move Originator says that we have asked for an object, under our own title or a client's. Such a one is
    /// no client's, though no move is found that it belongs to.
    pub fn asked_for_by_us(&self, origin: &Origin) -> bool {
        let Some((title, id)) = &origin.originator else { return false };
        let shared = &self.shared;
        if shared.parties.get().archives.iter().any(|known| known.calling == *title) {
            return true;
        }
        let state = shared.lock();
        let mut moves = state.live.iter().map(|e| (&e.calling, e.id));
        let mut ended = state.ended.iter().map(|e| (&e.calling, e.id));
        moves.any(|named| named == (title, *id)) || ended.any(|named| named == (title, *id))
    }

    /// Finds the move that an object belongs to.
    pub(super) fn claim(&self, origin: &Origin, head: &Head, found: &Identifiers) -> Claim {
        let shared = &self.shared;
        let mut state = shared.lock();
        state.forget(Instant::now());
        let from = |sender, addresses| shared.may_send(sender, addresses, origin.address, &origin.calling);
        let named = |calling: &AeTitle, id: u16| {
            origin.originator.as_ref().is_some_and(|o| o.0 == *calling && o.1 == id)
        };
        let covers = |target: &Target| Collector::covers(target, head, found).is_some();
        // The Move Originator names one move of ours. It is believed where the rest agrees.
        let live = state.live.iter().find(|e| named(&e.calling, e.id) && from(&e.sender, &e.addresses));
        if let Some(entry) = live.filter(|e| covers(e.collector.target()) || e.collector.takes_foreign_uids())
        {
            return Claim::Live { collector: Arc::clone(&entry.collector), correlated: true };
        }
        let ended = state.ended.iter().find(|e| named(&e.calling, e.id) && from(&e.sender, &e.addresses));
        let ended = ended.filter(|e| covers(&e.target));
        if ended.is_some_and(|e| e.open) {
            return Claim::Leftover;
        }
        // No originator, or one that means nothing here: some archives leave it out or count by themselves.
        // What asked for this very object comes before what asked for another part of the same study.
        let asked = |target: &Target| Collector::covers(target, head, found) == Some(true);
        let mut own =
            state.live.iter().filter(|e| from(&e.sender, &e.addresses) && covers(e.collector.target()));
        let live = own.clone().find(|e| asked(e.collector.target())).or_else(|| own.next());
        let left = (state.ended.iter()).find(|e| e.open && from(&e.sender, &e.addresses) && asked(&e.target));
        match (live, left) {
            // It may be a leftover of another archive's move, which nothing tells apart from this one.
            (Some(live), Some(left)) if live.sender.archive != left.sender.archive => Claim::Unknown,
            // A copy that came late, by what the originator says; another archive's move must not get it.
            (Some(live), _) if ended.is_some_and(|e| e.sender.archive != live.sender.archive) => {
                Claim::Leftover
            }
            (Some(live), _) => Claim::Live { collector: Arc::clone(&live.collector), correlated: false },
            (None, Some(_)) => Claim::Leftover,
            (None, None) if ended.is_some() => Claim::Leftover,
            (None, None) => Claim::Unknown,
        }
    }
}

impl Registration {
    /// The message ID for the C-MOVE-RQ: no other move under way, or just ended, has it.
    pub(super) fn message_id(&self) -> u16 {
        self.id
    }

    /// Everything has come that was to come.
    pub(super) fn settled(mut self) {
        self.settled = true;
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let Some(index) = state.live.iter().position(|e| e.id == self.id) else { return };
        let Entry { id, sender, addresses, calling, collector, .. } = state.live.swap_remove(index);
        let until = Instant::now() + LEFTOVERS;
        let target = collector.target().clone();
        state.ended.push_back(Ended { id, sender, addresses, calling, target, open: !self.settled, until });
        if state.ended.len() > MOST_ENDED {
            state.ended.pop_front();
        }
        drop(state);
        self.shared.ended.notify_waiters();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the moves")
    }

    /// Takes a place among those that wait.
    fn queue_up(self: &Arc<Self>, ticket: Ticket) -> Place {
        let mut state = self.lock();
        state.last_ticket += 1;
        let number = state.last_ticket;
        state.waiting.push(Ticket { number, ..ticket });
        Place { shared: Arc::clone(self), number }
    }

    /// Whether an association from `address` under the title `calling` may bring objects of this archive:
    /// from the archive's own address under any title that is not another archive's or a client's, or as `store_from`
    /// says.
    fn may_send(&self, sender: &Sender, addresses: &[IpAddr], address: IpAddr, calling: &AeTitle) -> bool {
        let own_address = addresses.contains(&address.to_canonical());
        let own_title = sender.sends_as(calling);
        if own_title && own_address {
            return true;
        }
        let parties = self.parties.get();
        if !own_title && parties.clients.contains(calling) {
            return false;
        }
        let allowed = sender.store_from.iter().any(|from| {
            from.ae_title.as_ref().is_none_or(|title| title == calling)
                && from.network.map_or(own_address, |network| network.contains(address))
        });
        let of_another = parties.archives.iter().any(|k| k.archive != sender.archive && k.sends_as(calling));
        allowed || own_address && !of_another
    }
}

impl Parties {
    fn of<'a>(
        archives: impl IntoIterator<Item = &'a Config>,
        clients: impl IntoIterator<Item = AeTitle>,
    ) -> Self {
        Self {
            archives: archives.into_iter().map(Sender::of).collect(),
            clients: clients.into_iter().collect(),
        }
    }
}

impl Sender {
    fn of(config: &Config) -> Self {
        let title = config.retrieve_from.as_ref().map_or(&config.ae_title, |e| &e.ae_title).clone();
        let Config { name, calling, store_from, .. } = config;
        Self { archive: name.clone(), title, calling: calling.clone(), store_from: store_from.clone() }
    }

    fn sends_as(&self, calling: &AeTitle) -> bool {
        self.title == *calling || self.store_from.iter().any(|from| from.ae_title.as_ref() == Some(calling))
    }
}

impl State {
    /// Whether a move of this target has to wait: `Some(None)` for the end of another, `Some(Some(time))` for
    /// the leftovers of another archive's move, which could not be told apart.
    fn blocked(&self, ticket: &Ticket, target: &Target) -> Option<Option<Instant>> {
        let before = |t: &Ticket| {
            t.number < ticket.number && ticket.takes_turns_with(&t.archive, &t.addresses, t.form)
        };
        if self.live.iter().any(|e| ticket.is_held_up_by(e, target)) || self.waiting.iter().any(before) {
            return Some(None);
        }
        let left = |e: &&Ended| e.open && e.sender.archive != ticket.archive && overlap(&e.target, target);
        self.ended.iter().filter(left).map(|e| e.until).min().map(Some)
    }

    /// Tells the moves that one of this target waits for.
    fn wait_for(&self, ticket: &Ticket, target: &Target) -> Vec<Waiting> {
        let blocking = self.live.iter().filter(|e| ticket.is_held_up_by(e, target));
        blocking.map(|e| Collector::wait_for(&e.collector)).collect()
    }

    fn fresh_id(&mut self) -> Option<u16> {
        let taken = |id: u16, state: &Self| {
            id == 0 || state.live.iter().any(|e| e.id == id) || state.ended.iter().any(|e| e.id == id)
        };
        for _ in 0..=u16::MAX {
            self.last_id = self.last_id.wrapping_add(1);
            if !taken(self.last_id, self) {
                return Some(self.last_id);
            }
        }
        None
    }

    fn forget(&mut self, now: Instant) {
        self.ended.retain(|e| e.until > now);
    }
}

impl Ticket {
    /// Whether objects of the other's moves may come over the same association, in another form.
    fn takes_turns_with(&self, archive: &str, addresses: &[IpAddr], form: Form) -> bool {
        let same = self.archive == archive || addresses.iter().any(|a| self.addresses.contains(a));
        form != self.form && same
    }

    fn is_held_up_by(&self, live: &Entry, target: &Target) -> bool {
        overlap(live.collector.target(), target)
            || self.takes_turns_with(&live.sender.archive, &live.addresses, live.form)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.lock().waiting.retain(|t| t.number != self.number);
        self.shared.ended.notify_waiters();
    }
}

/// Whether one object can belong to both.
fn overlap(a: &Target, b: &Target) -> bool {
    let meet = |a: &Option<Uid>, b: &Option<Uid>| a.is_none() || b.is_none() || a == b;
    a.study == b.study && meet(&a.series, &b.series) && meet(&a.instance, &b.instance)
}

#[cfg(test)]
#[path = "move_destination_tests.rs"]
mod tests;
