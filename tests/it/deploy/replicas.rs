//! Three replicas as the chart configures them, behind what the chart hashes with, before one archive that moves to each
//! replica's own title.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use serde_json::{Value, json};

use super::{GANTRY, judge};
use crate::support::curl::{curl, header_accepting_as_stored};
use crate::support::metrics::Figures;
use crate::support::peers::{Archive, Destination, data, manifest};
use crate::support::process::{Scratch, Server, bounded, free_port};

const REPLICAS: usize = 3;
/// Clients that ask for one study at once.
const CLIENTS: usize = 4;

/// One replica.
struct Replica {
    server: Server,
    /// Its HTTP port.
    port: u16,
    /// Its title, and where archives find it.
    own: Destination,
}

impl Replica {
    fn figures(&self) -> Figures {
        let answer = curl(&format!("http://127.0.0.1:{}/metrics", self.port), &[]);
        assert_eq!((answer.exit, answer.status), (0, 200));
        Figures::new(String::from_utf8(answer.body).unwrap())
    }
}

/// The archive, the replicas, and what stands before them.
struct Site {
    replicas: Vec<Replica>,
    archive: Archive,
    /// Where viewers ask: what hashes.
    url: String,
    _proxy: Server,
    /// Study Instance UIDs.
    studies: Vec<String>,
}

impl Site {
    /// With the chart's `ingress.hashing`.
    fn new(hashing: &str) -> Self {
        let destinations: Vec<_> =
            (0..REPLICAS).map(|ordinal| Destination::new(&format!("GANTRY{ordinal}"))).collect();
        let folder = data("names", &[]);
        let archive = Archive::orthanc(&folder, &destinations, json!({}));
        let held: Value = serde_json::from_str(&fs::read_to_string(&archive.holds).unwrap()).unwrap();
        let held = held.as_array().unwrap().iter();
        let mut studies: Vec<_> = held.map(|object| object["study"].as_str().unwrap().to_owned()).collect();
        studies.sort();
        studies.dedup();
        assert!(studies.len() > 10, "{}", manifest(&folder).len());
        let scratch = Scratch::new("chart");
        let values = json!({
            "replicas": REPLICAS,
            "ingress": { "enabled": true, "host": "dicom.example", "hashing": hashing },
            "config": {
                "ae": { "WORKSTATION": {} },
                // However slow this machine is, what was brought is not asked for again.
                "cache": { "revalidate": "1h", "ttl": "1h" },
                "archive": { "main": {
                    "ae_title": archive.ae_title, "address": format!("127.0.0.1:{}", archive.port),
                    "retrieve": "move", "max_associations": 12,
                } },
            },
        });
        judge("chart.py", &["render", scratch.path().to_str().unwrap(), &values.to_string()]);
        let replicas: Vec<_> =
            destinations.into_iter().enumerate().map(|(n, own)| replica(scratch.path(), n, own)).collect();
        let (proxy, port) = match hashing {
            "proxy" => chart_proxy(scratch.path(), &replicas),
            _ => ingress_nginx(scratch.path(), &replicas),
        };
        let url = format!("http://127.0.0.1:{port}/dicom-web");
        Self { replicas, archive, url, _proxy: proxy, studies }
    }

    /// Retrieves a study, which comes whole.
    fn retrieve(&self, study: &str) {
        let url = format!("{}/studies/{study}", self.url);
        let answer = curl(&url, &["-H", header_accepting_as_stored()]);
        assert_eq!((answer.exit, answer.status), (0, 200), "{study} of {}", self.archive.ae_title);
        let [uid, part] = [study, "Content-Type: application/dicom"].map(|word| {
            answer
                .body
                .windows(word.len())
                .filter(|bytes| bytes.eq_ignore_ascii_case(word.as_bytes()))
                .count()
        });
        assert!(uid > 0 && part > 0, "{study}");
    }

    /// How many requests each replica's cache had, by outcome.
    fn requests(&self, outcome: &str) -> Vec<u64> {
        self.replicas.iter().map(|replica| replica.figures().requests(outcome)).collect()
    }
}

/// Starts a replica with what the chart gives it, on loopback.
fn replica(chart: &Path, ordinal: usize, own: Destination) -> Replica {
    let port = free_port();
    let scratch = Scratch::new("replica");
    let variables = fs::read_to_string(chart.join("environment.json")).unwrap();
    let variables: HashMap<String, String> = serde_json::from_str(&variables).unwrap();
    let mut command = Command::new(GANTRY);
    command.arg("serve").arg("--config").arg(chart.join("gantry.toml"));
    for (name, value) in variables {
        command.env(name, value.replace("$(POD_INDEX)", &ordinal.to_string()));
    }
    command
        .env("GANTRY_HTTP__LISTEN", format!("127.0.0.1:{port}"))
        .env("GANTRY_DIMSE__LISTEN", format!("127.0.0.1:{}", own.port))
        .env("GANTRY_STATE__PATH", scratch.path().join("state.redb"));
    Replica { server: Server::start("gantry", scratch, command, &[port, own.port]), port, own }
}

fn nginx(configuration: &str, port: u16) -> (Server, u16) {
    let scratch = Scratch::new("nginx");
    let text = configuration
        .replace("/tmp/", &format!("{}/", scratch.path().display()))
        .replace("listen 8080", &format!("listen 127.0.0.1:{port}"));
    let file = scratch.write("nginx.conf", &text);
    let mut command = Command::new("/usr/sbin/nginx");
    command.args(["-e", "stderr", "-g", "daemon off;", "-c"]).arg(file);
    (Server::start("nginx", scratch, command, &[port]), port)
}

/// The chart's own nginx, with the addresses of this machine for those of the Services.
fn chart_proxy(chart: &Path, replicas: &[Replica]) -> (Server, u16) {
    let mut text = fs::read_to_string(chart.join("proxy.conf")).unwrap();
    for (ordinal, replica) in replicas.iter().enumerate() {
        let service = format!("gantry-http-{ordinal}.pacs.svc:80");
        assert!(text.contains(&service), "{text}");
        text = text.replace(&service, &format!("127.0.0.1:{}", replica.port));
    }
    nginx(&text, free_port())
}

/// What ingress-nginx makes of the chart's annotations: a location for each path, as regular expressions without regard to
/// case, and an upstream for each Service, hashed consistently by `upstream-hash-by`.
fn ingress_nginx(chart: &Path, replicas: &[Replica]) -> (Server, u16) {
    let ingresses = fs::read_to_string(chart.join("ingress.json")).unwrap();
    let ingresses: Vec<Value> = serde_json::from_str(&ingresses).unwrap();
    let servers: String =
        replicas.iter().map(|replica| format!("server 127.0.0.1:{};\n", replica.port)).collect();
    let (mut upstreams, mut locations) = (String::new(), Vec::new());
    for (number, ingress) in ingresses.iter().enumerate() {
        let by = &ingress["annotations"]["nginx.ingress.kubernetes.io/upstream-hash-by"];
        let hash = by.as_str().map(|by| format!("hash {by} consistent;\n")).unwrap_or_default();
        upstreams += &format!("upstream service{number} {{\n{hash}{servers}}}\n");
        for path in ingress["paths"].as_array().unwrap() {
            locations.push((path["path"].as_str().unwrap().to_owned(), number));
        }
    }
    // The longest comes first.
    locations.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
    let locations: String = locations
        .iter()
        .map(|(path, number)| {
            format!(
                "location ~* \"^{path}\" {{ proxy_http_version 1.1; proxy_set_header Host $http_host; \
                 proxy_pass http://service{number}; }}\n"
            )
        })
        .collect();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path /tmp/{kind};\n"))
        .collect();
    let text = format!(
        "pid /tmp/pid;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}{upstreams}\
         server {{ listen 8080;\n{locations} }}\n}}\n"
    );
    nginx(&text, free_port())
}

/// Every study is asked for by several clients at once and again later, and comes from the archive once, to one replica.
fn each_study_stays_at_one_replica(site: &Site) {
    for study in &site.studies {
        thread::scope(|clients| {
            for _ in 0..CLIENTS {
                clients.spawn(|| site.retrieve(study));
            }
        });
        site.retrieve(study);
    }
    let misses = site.requests("miss");
    assert_eq!(misses.iter().sum::<u64>(), site.studies.len() as u64, "{misses:?}");
    let busy = misses.iter().filter(|count| **count > 0).count();
    assert!(busy > 1, "one replica has everything: {misses:?}");
}

#[test]
fn each_study_stays_at_one_replica_behind_the_charts_proxy_and_archives_move_to_its_own_title() {
    let mut site = Site::new("proxy");
    each_study_stays_at_one_replica(&site);
    // What is asked for by WADO-URI is the same study's, and at the same replica.
    let before = site.requests("miss");
    let root = site.url.trim_end_matches("/dicom-web").to_owned();
    let study = &site.studies[0];
    let instances = curl(&format!("{}/studies/{study}/instances", site.url), &[]).json();
    let [series, object] = ["0020000E", "00080018"].map(|tag| instances[0][tag]["Value"][0].clone());
    let wado = format!(
        "{root}/dicom-web?requestType=WADO&contentType=application%2Fdicom&studyUID={study}&seriesUID={}&objectUID={}",
        series.as_str().unwrap(),
        object.as_str().unwrap()
    );
    let answer = curl(&wado, &[]);
    assert_eq!((answer.exit, answer.status), (0, 200), "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(site.requests("miss"), before);
    // One is gone: its studies come by way of the others, and theirs stay where they were.
    let gone = before.iter().position(|misses| *misses > 0).unwrap();
    site.replicas.remove(gone).server.kill();
    let all = site.studies.clone();
    for study in &all {
        site.retrieve(study);
    }
    let after: u64 = site.requests("miss").iter().sum();
    assert_eq!(after, all.len() as u64, "{} were at the one that is gone", before[gone]);
}

#[test]
fn each_study_stays_at_one_replica_as_ingress_nginx_hashes() {
    each_study_stays_at_one_replica(&Site::new("ingress-nginx"));
}

#[test]
fn clients_call_every_replica_by_the_stem_and_by_its_own_title() {
    let site = Site::new("proxy");
    for replica in &site.replicas {
        for called in ["GANTRY", &replica.own.ae_title] {
            let echo = bounded("/usr/bin/echoscu")
                .args(["-aet", "WORKSTATION", "-aec", called, "127.0.0.1", &replica.own.port.to_string()])
                .output()
                .unwrap();
            assert!(echo.status.success(), "{called}: {}", String::from_utf8_lossy(&echo.stderr));
        }
    }
}
