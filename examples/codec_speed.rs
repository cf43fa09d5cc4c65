//! Decodes and encodes frames as `bench/codecs.py` asks for it: a line of what describes one in, the milliseconds of
//! processor time that it took out.

use std::io::{Write, stdin, stdout};

use gantry::dicom::Uid;
use gantry::image::codec::{decode, encode};
use gantry::image::pixels::{Frame, Photometric, Shape};
use rustix::time::{ClockId, clock_gettime};

/// `decode|encode`, transfer syntax, rows, columns, samples, bits allocated, bits stored, file.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    for line in stdin().lines() {
        let line = line?;
        let [what, syntax, rows, columns, samples, bits_allocated, bits_stored, file] =
            line.split('|').collect::<Vec<_>>()[..]
        else {
            return Err("eight fields in a line".into());
        };
        let (syntax, samples, bits_stored): (Uid, u16, u16) =
            (syntax.parse()?, samples.parse()?, bits_stored.parse()?);
        let shape = Shape {
            rows: rows.parse()?,
            columns: columns.parse()?,
            samples,
            bits_allocated: bits_allocated.parse()?,
            bits_stored,
            high_bit: bits_stored - 1,
            signed: false,
            photometric: if samples == 3 { Photometric::Rgb } else { Photometric::Monochrome2 },
            planar: false,
        };
        let bytes = std::fs::read(file)?;
        let took = if what == "decode" {
            let start = milliseconds();
            decode(&syntax, &bytes, &shape)?;
            milliseconds() - start
        } else {
            let frame = Frame { shape, bytes };
            let start = milliseconds();
            encode(&syntax, &frame)?;
            milliseconds() - start
        };
        writeln!(stdout(), "{took}")?;
    }
    Ok(())
}

/// What this thread has had of a processor.
fn milliseconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}
