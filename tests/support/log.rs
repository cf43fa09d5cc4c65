//! What an archive's own log says of how it was asked: that of dcmqrscp, and Orthanc's with `--verbose-dicom`.

use super::peers::Archive;

/// How both say that an association has begun. What they call received may be a mere connection.
const BEGUN: &str = "Association Acknowledged";
/// How Orthanc says that one has ended.
const ENDED: &str = "Finishing association with";
/// How dcmqrscp does.
const ENDED_WITH: [&str; 2] = ["Association Release", "Association Aborted"];
/// The same, where it finds out as it sends.
const BROKEN: &str = "(aborting association)";

/// What one archive was asked for since a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Query/Retrieve Levels (0008,0052) of the C-GETs, in order.
    pub(crate) gets: Vec<String>,
    /// Those of the C-MOVEs.
    pub(crate) moves: Vec<String>,
    /// Associations that began.
    pub(crate) begun: usize,
    /// Associations open now.
    pub(crate) open: usize,
    /// Most that were open at once.
    pub(crate) most_open: usize,
}

impl Asked {
    /// What was asked of `archive` since its log was `since` bytes long.
    pub(crate) fn since(archive: &Archive, since: usize) -> Self {
        let log = archive.server.whole_log();
        let open = open(&log[..since]);
        let log = &log[since..];
        let mut asked = Self { open, most_open: open, ..Self::default() };
        asked.gets = levels(log, "Get SCP Request Identifiers:", "OrthancGetRequestHandler.cpp");
        asked.moves = levels(log, "Move SCP Request Identifiers:", "OrthancMoveRequestHandler.cpp");
        for line in log.lines() {
            asked.begun += usize::from(line.contains(BEGUN));
            asked.open = after(line, asked.open);
            asked.most_open = asked.most_open.max(asked.open);
        }
        asked
    }

    /// How many C-GETs or C-MOVEs had this level.
    pub(crate) fn at(&self, level: &str) -> usize {
        self.gets.iter().chain(&self.moves).filter(|asked| *asked == level).count()
    }
}

/// Associations that are open at the end of `log`.
fn open(log: &str) -> usize {
    log.lines().fold(0, |open, line| after(line, open))
}

/// Associations that are open after `line`, where so many were before it.
fn after(line: &str, open: usize) -> usize {
    if line.contains(BEGUN) {
        return open + 1;
    }
    let ended =
        line.contains(ENDED) || line.contains(BROKEN) || ENDED_WITH.iter().any(|end| line.ends_with(end));
    open - usize::from(ended)
}

/// The Query/Retrieve Levels of requests: in a dump of the identifier after `dump` (dcmqrscp), or on a line of its own
/// that names the `source` file which wrote it (Orthanc).
fn levels(log: &str, dump: &str, source: &str) -> Vec<String> {
    let of_dcmqrscp =
        log.match_indices(dump).filter_map(|(at, _)| log[at..].split("(0008,0052) CS [").nth(1));
    let of_dcmqrscp = of_dcmqrscp.filter_map(|rest| rest.split(']').next());
    let lines = log.lines().filter(|line| line.contains(source));
    let of_orthanc = lines.filter_map(|line| line.split("QueryRetrieveLevel = ").nth(1));
    of_dcmqrscp.chain(of_orthanc).map(|level| level.trim().to_owned()).collect()
}
