//! `QueuedRequest`: a request of this child in the request queue ([`link::RequestQueue`]). It reserves a thread of a worker of its group,
//! waits for one, gives it back, or moves to another worker. Made when the request is about to be offered; dropped when the worker has
//! nothing to do with it any more.

use super::remote::{Group, Remote, Worker, locked};
use link::{Candidate, WaitState, WorkerRef};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A request in the request queue: it waits for a thread of its group or has one reserved. When this is dropped, the request stops
/// waiting and its thread is given back.
pub struct QueuedRequest<'r> {
    remote: &'r Remote,
    group: &'r Group,
    slot: u32,
    /// The last known place of its group on the board.
    place: u32,
    /// Its place among those that wait, once it has had to.
    ticket: Cell<Option<u64>>,
    /// How often its worker was found not to have taken it.
    untaken: Cell<u32>,
    /// It has a thread reserved of a worker that does not take it, and waits in line for one of another worker.
    waits_for_another: Cell<bool>,
}

/// When its worker was found so often not to have taken it, a request waits in line as well: after about half a second.
const OFTEN: u32 = 5;

/// No group has this place.
const NO_PLACE: u32 = u32::MAX;

impl Remote {
    /// Gives a request of the group a slot in the request queue. `None` if all 32,768 slots are in use.
    pub fn enqueue<'r>(&'r self, group: &'r Group) -> Option<QueuedRequest<'r>> {
        let slot = locked(&self.slots).pop();
        let slot = slot.or_else(|| self.queue.claim_slot(std::process::id()))?;
        let (ticket, untaken, waits_for_another) = Default::default();
        let (remote, place) = (self, NO_PLACE);
        Some(QueuedRequest { remote, group, slot, place, ticket, untaken, waits_for_another })
    }
}

impl QueuedRequest<'_> {
    fn candidates(&self) -> impl Iterator<Item = Candidate> {
        self.remote.board.candidates(self.place)
    }

    /// Looks up the place of the group. `None` as long as it has none.
    pub fn locate(&mut self) -> Option<u32> {
        self.place = self.group.place.look_up(self.remote.board)?;
        Some(self.place)
    }

    /// Reserves a thread. `None` if none is free or other requests wait. The caller has called [`locate`](QueuedRequest::locate).
    pub fn reserve(&self) -> Option<Arc<Worker>> {
        let last = self.group.last.load(Ordering::Relaxed);
        let (queue, place) = (self.remote.queue, self.place);
        let worker = queue.reserve(self.slot, place, || self.candidates(), last)?;
        self.granted(worker)
    }

    /// Whether the group has another place than at the last [`locate`](QueuedRequest::locate).
    pub fn has_moved(&self) -> bool {
        self.group.place.look_up(self.remote.board) != Some(self.place)
    }

    /// Whether a worker of the group is ready.
    pub fn has_ready(&self) -> bool {
        self.candidates().next().is_some()
    }

    fn granted(&self, worker: WorkerRef) -> Option<Arc<Worker>> {
        self.untaken.set(0);
        let known = self.remote.known(self.group, worker);
        if known.is_none() {
            self.give_back();
        }
        known
    }

    /// Waits for a thread from now on, behind those that came before.
    pub fn start_waiting(&self) {
        let (queue, place) = (self.remote.queue, self.place);
        let ticket = self.ticket.get().unwrap_or_else(|| queue.ticket());
        self.ticket.set(Some(ticket));
        queue.start_waiting(self.slot, place, ticket, || self.candidates());
    }

    /// How often it has been woken.
    pub fn wake_count(&self) -> u32 {
        self.remote.queue.wake_count(self.slot)
    }

    /// Waits until it is given a thread, there is trouble in the group, or the time is over; not if it has been woken since `seen`.
    /// Without a thread it goes on waiting, even if it had been given one of a worker that has gone since.
    pub fn await_grant(&self, seen: u32, time: Duration) -> Option<Arc<Worker>> {
        let (queue, place) = (self.remote.queue, self.place);
        let granted = queue.await_grant(self.slot, seen, time);
        let granted = granted.and_then(|worker| self.granted(worker));
        match (queue.state(self.slot), self.ticket.get()) {
            _ if granted.is_some() => {}
            (WaitState::Idle | WaitState::Watching { .. }, Some(ticket)) => {
                queue.start_waiting(self.slot, place, ticket, || self.candidates());
            }
            _ => queue.grant_free_threads(Some(self.slot), place, || self.candidates()),
        }
        granted
    }

    /// The request stops waiting. Returns the worker of which it was given a thread meanwhile, if it was.
    pub fn stop_waiting(&self) -> Option<Arc<Worker>> {
        self.remote.queue.stop_waiting(self.slot).and_then(|worker| self.granted(worker))
    }

    /// Waits, no longer than so long, for news of the group, unless there is some already: `is_old` says whether there is none, and is
    /// asked when news wakes the request.
    pub fn await_change(&self, time: Duration, is_old: impl FnOnce() -> bool) {
        self.stop_waiting_for_another();
        let queue = self.remote.queue;
        let seen = self.wake_count();
        queue.watch(self.slot, self.place);
        if is_old() {
            queue.await_grant(self.slot, seen, time);
        }
        queue.stop_waiting(self.slot);
    }

    /// Reserves a thread of another worker for a request that this one has not taken. While other requests wait for each thread that
    /// becomes free, this one waits in line with them after a while.
    pub fn reserve_another(&self, than: &Worker) -> Option<WorkerRef> {
        let (queue, place) = (self.remote.queue, self.place);
        if self.waits_for_another.get() {
            if let WaitState::Waiting { .. } = queue.state(self.slot) {
                return None;
            }
            self.waits_for_another.set(false);
            let given = queue.stop_waiting_for_another(self.slot)?;
            if given != than.reference() {
                return Some(given);
            }
            self.cancel_move(given);
            return None;
        }
        let others = || self.candidates().filter(|other| other.worker != than.reference());
        let found = queue.reserve_another(self.slot, place, others);
        self.untaken.set(self.untaken.get() + 1);
        if found.is_none() && self.untaken.get() >= OFTEN && queue.has_waiting(place) {
            self.waits_for_another.set(true);
            self.start_waiting();
        }
        found
    }

    /// The request has been taken, or needs no thread any more.
    pub fn stop_waiting_for_another(&self) {
        if self.waits_for_another.take() {
            let given = self.remote.queue.stop_waiting_for_another(self.slot);
            given.into_iter().for_each(|given| self.cancel_move(given));
        }
    }

    /// The request goes to the worker of which [`reserve_another`](QueuedRequest::reserve_another) has reserved a thread.
    pub fn move_to(&self, worker: WorkerRef) -> Option<Arc<Worker>> {
        let (queue, place) = (self.remote.queue, self.place);
        queue.move_to(self.slot, place, worker, || self.candidates());
        self.granted(worker)
    }

    /// The request stays with its worker, which has taken it meanwhile.
    pub fn cancel_move(&self, worker: WorkerRef) {
        let (queue, place) = (self.remote.queue, self.place);
        queue.cancel_move(self.slot, place, worker, || self.candidates());
    }

    /// Gives back the thread that it has reserved.
    pub fn give_back(&self) {
        self.remote.queue.give_back(self.slot, self.place, || self.candidates());
    }

    /// The thread that it has reserved is still busy with it: the worker reports to the supervisor when it is free.
    pub fn leave_busy(&self) {
        self.remote.queue.forget_held(self.slot);
    }
}

impl Drop for QueuedRequest<'_> {
    fn drop(&mut self) {
        self.stop_waiting_for_another();
        self.remote.queue.stop_waiting(self.slot);
        self.give_back();
        locked(&self.remote.slots).push(self.slot);
    }
}
