//! What of a configuration cannot change while the bridge runs.

use super::Config;

impl Config {
    /// Takes from `running`, the configuration that holds now, what cannot change while the bridge runs; the keys that are
    /// different.
    pub fn keep_what_needs_a_restart(&mut self, running: &Self) -> Vec<&'static str> {
        let mut kept = Vec::new();
        macro_rules! keep {
            ($($key:literal: $($field:ident).+;)*) => {
                $(if self.$($field).+ != running.$($field).+ {
                    self.$($field).+.clone_from(&running.$($field).+);
                    kept.push($key);
                })*
            };
        }
        keep! {
            "http.listen": http.listen;
            "http.tls": http.tls;
            "http.max_connections": http.settings.max_connections;
            "http.max_connections_per_address": http.settings.max_connections_per_address;
            "http.limits.max_head": http.settings.max_head;
            "http.header_timeout": http.settings.head_timeout;
            "http.drain_timeout": http.settings.drain_timeout;
            "http.write_timeout": http.settings.write_timeout;
            "http.trusted_proxies": http.settings.proxies;
            "dimse.listen": dimse.listen;
            "dimse.tls": dimse.tls;
            "dimse.move_ae_titles": dimse.move_ae_titles;
            "dimse.commitment": dimse.commitment;
            "dimse.max_associations": dimse.front.max_associations;
            "dimse.timeouts.artim": dimse.front.timeouts.artim;
            "cache": cache;
            "state": state;
            "audit": audit;
            "log": log;
            "telemetry": traces;
        }
        // The same, as the front end sees it.
        self.http.front.write_timeout = running.http.front.write_timeout;
        self.http.front.trusted_proxies.clone_from(&running.http.front.trusted_proxies);
        let front = &mut self.dimse.front;
        if self.dimse.ae_title != running.dimse.ae_title {
            front.titles.remove(&self.dimse.ae_title);
            self.dimse.ae_title.clone_from(&running.dimse.ae_title);
            self.archives.iter_mut().for_each(|archive| archive.calling.clone_from(&running.dimse.ae_title));
            kept.push("dimse.ae_title");
        }
        front.ae_title.clone_from(&running.dimse.front.ae_title);
        let own = running.dimse.move_ae_titles.iter().chain([&running.dimse.ae_title]);
        front.titles.extend(own.cloned());
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARCHIVE: &str =
        "[auth]\nmode = \"none\"\n[archive.main]\nae_title = \"A\"\naddress = \"127.0.0.1:1\"\n";

    fn config(text: &str) -> Config {
        Config::parse(&format!("{text}\n{ARCHIVE}"), []).unwrap()
    }

    #[test]
    fn what_needs_a_restart_stays_as_it_is_and_stands_in_the_documentation() {
        let running = config("");
        let mut other = config(
            "[http]\nlisten = \"127.0.0.1:1\"\nmax_connections = 7\nmax_connections_per_address = 7\n\
             header_timeout = \"7s\"\nwrite_timeout = \"7s\"\ndrain_timeout = \"7s\"\ntrusted_proxies = [\"127.0.0.7\"]\n\
             limits = { max_head = \"9KiB\" }\ntls = { certificate = \"c\", key = \"k\" }\n\
             [dimse]\nlisten = \"127.0.0.1:2\"\nae_title = \"OTHER\"\nmax_associations = 7\ntimeouts = { artim = \"7s\" }\n\
             tls = { certificate = \"c\", key = \"k\" }\ncommitment = { wait = \"7h\" }\n\
             [cache]\nmemory = \"7MiB\"\n[state]\npath = \"/s\"\n\
             [audit]\nstdout = true\nspool = { path = \"/a\" }\n[log]\nfilter = \"warn\"\n[telemetry]\notlp = \"http://127.0.0.1:7\"\n",
        );
        let different = other.keep_what_needs_a_restart(&running);
        assert_eq!(other.keep_what_needs_a_restart(&running), Vec::<&str>::new());
        assert_eq!(other, running);
        let documentation = include_str!("../../docs/configuration.md");
        let (_, list) = documentation.split_once("These stay as they were until the next start").unwrap();
        let (list, _) = list.split_once("Variables of the").unwrap();
        let mut named: Vec<&str> =
            list.split('`').skip(1).step_by(2).map(|key| key.trim_matches(['[', ']'])).collect();
        let mut different = different;
        named.sort_unstable();
        different.sort_unstable();
        assert_eq!(different, named);
    }
}
