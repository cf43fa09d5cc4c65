//! How fast P-DATA is read and written: what the bridge itself adds to the system calls of a connection.
//!
//! `cargo bench --bench framing`. Reading includes the one copy into the receive block that the kernel makes for a real
//! socket; beside it stands that copy alone.

use std::future::poll_fn;
use std::hint::black_box;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gantry::dimse::wire::{Frame, FrameReader, Outbound, WireError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A CT image.
const OBJECT: usize = 525 << 10;
/// Objects in one round.
const OBJECTS: usize = 16;
/// What the kernel gives at once, at most.
const READ: usize = 256 << 10;
/// Largest PDU of the peer: DCMTK's and Orthanc's default, that of fo-dicom's newer versions, ours.
const PDUS: [u32; 3] = [16 << 10, 256 << 10, 1 << 20];

/// A socket that has everything already.
struct Source(Bytes);

impl AsyncRead for Source {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let length = into.remaining().min(READ).min(self.0.len());
        into.put_slice(&self.0[..length]);
        self.0.advance(length);
        Poll::Ready(Ok(()))
    }
}

/// A socket that takes everything.
struct Sink(usize);

impl AsyncWrite for Sink {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0 += bytes.len();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        self.0 += length;
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Runs what never has to wait.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => unreachable!("the sockets here are always ready"),
    }
}

/// The objects of a round on the wire.
fn wire(max_pdu: u32) -> Bytes {
    let object = Bytes::from(vec![7; OBJECT]);
    let mut out = Outbound::new(max_pdu);
    for _ in 0..OBJECTS {
        out.push_pdvs(1, true, true, Bytes::from_static(&[0; 120]));
        out.push_pdvs(1, false, true, object.clone());
    }
    out.copy_to_bytes(out.remaining())
}

fn read(wire: &Bytes) -> usize {
    let (mut source, mut reader, mut length) = (Source(wire.clone()), FrameReader::default(), 0);
    loop {
        match at_once(poll_fn(|cx| reader.poll_frame(&mut source, cx))) {
            Ok(Frame::Fragment { bytes, .. }) => length += bytes.len(),
            Err(WireError::Closed) => return length,
            other => unreachable!("{other:?}"),
        }
    }
}

fn reading(c: &mut Criterion) {
    let mut group = c.benchmark_group("P-DATA in");
    for max_pdu in PDUS {
        let wire = wire(max_pdu);
        group.throughput(Throughput::Bytes(wire.len() as u64));
        group.bench_function(BenchmarkId::new("PDUs of", max_pdu), |b| b.iter(|| black_box(read(&wire))));
    }
    let wire = wire(PDUS[0]);
    let mut block = vec![0; READ];
    group.bench_function("the copy alone", |b| {
        b.iter(|| {
            for piece in wire.chunks(READ) {
                black_box(&mut block)[..piece.len()].copy_from_slice(piece);
            }
        });
    });
    group.finish();
}

fn writing(c: &mut Criterion) {
    let mut group = c.benchmark_group("P-DATA out");
    let object = Bytes::from(vec![7; OBJECT]);
    group.throughput(Throughput::Bytes((OBJECT * OBJECTS) as u64));
    for max_pdu in PDUS {
        group.bench_function(BenchmarkId::new("whole objects, PDUs of", max_pdu), |b| {
            b.iter(|| {
                let (mut out, mut sink) = (Outbound::new(max_pdu), Sink(0));
                for _ in 0..OBJECTS {
                    out.push_pdvs(1, false, true, object.clone());
                    at_once(poll_fn(|cx| out.poll_flush(&mut sink, cx))).expect("the sink takes everything");
                }
                black_box(sink.0)
            });
        });
        group.bench_function(BenchmarkId::new("pieces of 8 KiB, PDUs of", max_pdu), |b| {
            b.iter(|| {
                let (mut out, mut sink) = (Outbound::new(max_pdu), Sink(0));
                for _ in 0..OBJECTS {
                    let mut rest = object.clone();
                    while !rest.is_empty() {
                        out.push_piece(1, rest.split_to(rest.len().min(8 << 10)));
                        at_once(poll_fn(|cx| out.poll_flush(&mut sink, cx)))
                            .expect("the sink takes everything");
                    }
                    out.finish_pieces(1);
                    at_once(poll_fn(|cx| out.poll_flush(&mut sink, cx))).expect("the sink takes everything");
                }
                black_box(sink.0)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, reading, writing);
criterion_main!(benches);
