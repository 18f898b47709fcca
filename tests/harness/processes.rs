//! The processes of a server: the parent, its children, the supervisor and its workers, and those of them that a request of a
//! test has to do with.

use super::{Server, wait_for, watch};

impl Server {
    /// The numbers of its children, which take the connections of clients.
    pub fn children(&self) -> Vec<i32> {
        if self.description.single_process {
            return vec![self.pid().as_raw()];
        }
        let mut children = watch::children(self.pid().as_raw());
        children.retain(|pid| !watch::is_supervisor(*pid));
        children
    }

    /// The number of its supervisor.
    #[track_caller]
    pub fn supervisor(&self) -> i32 {
        wait_for("a supervisor", || self.find_supervisor())
    }

    pub(super) fn find_supervisor(&self) -> Option<i32> {
        watch::children(self.parent()).into_iter().find(|pid| watch::is_supervisor(*pid))
    }

    /// The numbers of its workers, those included that are on their way out.
    pub fn workers(&self) -> Vec<i32> {
        watch::children(self.supervisor())
    }

    /// The number of its only worker.
    #[track_caller]
    pub fn worker(&self) -> i32 {
        wait_for("one worker", || match self.workers()[..] {
            [one] => Some(one),
            _ => None,
        })
    }

    /// The number of its only child.
    #[track_caller]
    pub fn child(&self) -> i32 {
        let children = wait_for("a child", || Some(self.children()).filter(|all| !all.is_empty()));
        assert_eq!(children.len(), 1, "one child");
        children[0]
    }

    /// The numbers of the processes that run its applications: its workers, or its children if it has none.
    pub fn runners(&self) -> Vec<i32> {
        match self.description.runs_workers() {
            true => self.workers(),
            false => self.children(),
        }
    }

    /// The number of the only process that runs its applications.
    #[track_caller]
    pub fn runner(&self) -> i32 {
        match self.description.runs_workers() {
            true => self.worker(),
            false => self.child(),
        }
    }

    /// The numbers of its children and workers.
    pub fn processes(&self) -> Vec<i32> {
        let mut processes = [self.children(), self.runners()].concat();
        processes.sort_unstable();
        processes.dedup();
        processes
    }

    /// The numbers of all its processes.
    pub(super) fn everybody(&self) -> Vec<i32> {
        let below = watch::children(self.parent());
        let workers = below.iter().filter(|pid| watch::is_supervisor(**pid));
        let workers: Vec<i32> = workers.flat_map(|pid| watch::children(*pid)).collect();
        [vec![self.parent()], below, workers].concat()
    }

    /// The numbers of the processes that a request goes through: its only child, and its only worker if it has one.
    #[track_caller]
    pub fn way(&self) -> Vec<i32> {
        let mut way = vec![self.child(), self.runner()];
        way.dedup();
        way
    }

    /// The number of the process that watches the children.
    pub fn parent(&self) -> i32 {
        self.pid().as_raw()
    }

    /// Resident memory, in KiB, of the processes that a request goes through.
    #[track_caller]
    pub fn resident(&self) -> u64 {
        self.way().into_iter().map(watch::resident).sum()
    }
}
