//! Which fragments make a frame: by the tables, by the markers, or one each.

use super::*;

#[test]
fn a_single_frame_is_all_of_its_fragments_without_the_padding_behind_its_end() {
    for (frame, cut) in [
        (vec![&b"\xFF\xD8ab"[..], b"cd\xFF\xD9"], &b"\xFF\xD8abcd\xFF\xD9"[..]),
        (vec![b"\xFF\xD8abc", b"d\xFF\xD9\0"], b"\xFF\xD8abcd\xFF\xD9"),
        (vec![b"\xFF\xD8abc", b"d\xFF", b"\xD9", b"\0"], b"\xFF\xD8abcd\xFF\xD9"),
        (vec![b"\xFF\xD8abcd\0"], b"\xFF\xD8abcd\0"),
        (vec![b"ab\0", b"\0cd"], b"ab\0\0cd"),
    ] {
        let object = Build::new(JPEG).grey(1, 4, 4, 8).fragments(&[], &frame);
        assert_eq!(object.cut(&[1]).unwrap(), [cut]);
        let with_table = Build::new(JPEG).grey(1, 4, 4, 8).fragments(&[0], &frame);
        assert_eq!(with_table.all().unwrap(), [cut]);
    }
    let rle = Build::new(RLE).grey(1, 4, 4, 8).fragments(&[0], &[b"\xFF\xD9\0"]);
    assert_eq!(rle.cut(&[1]).unwrap(), [b"\xFF\xD9\0"], "RLE has no end marker");
}

const FRAMES: [&[u8]; 3] = [A, b"\xFF\xD8\xFFbb\xFF\xD9", C];

#[test]
fn one_fragment_a_frame_is_found_by_every_table_and_by_none() {
    let object = || Build::new(JPEG).grey(3, 4, 4, 8);
    for table in [&[][..], &[0, 14, 30], &[0, 14], &[0, 0, 0], &[7, 9, 11], &[0, 6, 14]] {
        let cut = object().fragments(table, &[A, B, C]);
        assert_eq!(cut.all().unwrap(), FRAMES, "{table:?}");
        assert_eq!(cut.cut(&[2]).unwrap(), [FRAMES[1]], "{table:?}");
    }
    let extended = object().extended(&[0, 14, 30], &[6, 7, 6]).fragments(&[], &[A, B, C]);
    assert_eq!(extended.all().unwrap(), FRAMES);
    assert_eq!(extended.cut(&[2, 3]).unwrap(), FRAMES[1..]);
    for (offsets, lengths) in
        [(&[0, 14][..], &[6, 7][..]), (&[0, 14, 30], &[6]), (&[u64::MAX, 1, 0], &[6, 7, 6])]
    {
        let wrong = object().extended(offsets, lengths).fragments(&[], &[A, B, C]);
        assert_eq!(wrong.all().unwrap(), FRAMES, "{offsets:?}");
    }
    let rle = Build::new(RLE).grey(3, 4, 4, 8).fragments(&[], &[b"aa", b"bb", b"cc"]);
    assert_eq!(rle.all().unwrap(), [b"aa", b"bb", b"cc"]);
}

#[test]
fn several_fragments_a_frame_are_found_by_the_table_and_by_their_markers() {
    let fragments: [&[u8]; 5] = [b"\xFF\xD8\xFFa", b"aa", b"a\xFF\xD9\0", b"\xFF\xD8\xFF", b"bb\xFF\xD9"];
    let frames: [&[u8]; 2] = [b"\xFF\xD8\xFFaaaa\xFF\xD9", b"\xFF\xD8\xFFbb\xFF\xD9"];
    for table in [&[][..], &[0, 34]] {
        let object = Build::new(JPEG).grey(2, 4, 4, 8).fragments(table, &fragments);
        assert_eq!(object.all().unwrap(), frames, "{table:?}");
        assert_eq!(object.cut(&[2]).unwrap(), [frames[1]], "{table:?}");
    }
    // Without end markers, the next codestream's beginning tells.
    let fragments: [&[u8]; 4] = [b"\xFF\x4F\xFF\x51a", b"a", b"\xFF\x4F\xFF\x51b", b"b"];
    let object = Build::new(J2K).grey(2, 4, 4, 8).fragments(&[], &fragments);
    assert_eq!(object.all().unwrap(), [b"\xFF\x4F\xFF\x51aa", b"\xFF\x4F\xFF\x51bb"]);
}

#[test]
fn hazard_a_table_that_lies_about_the_fragments_cuts_no_frame_wrongly() {
    let object = |table: &[u32]| Build::new(JPEG).grey(3, 1, 1, 8).fragments(table, &[A, B, C]);
    let size = (A.len() + 8) as u32;
    let right = [0, size, size + (B.len() + 8) as u32];
    assert_eq!(object(&right).cut(&[2]).unwrap(), [FRAMES[1]]);
    for (table, lies_at) in [
        ([0, size + 1, u32::MAX], 1),
        ([0, size, u32::MAX], 2),
        ([0, size, right[2] + 2], 2),
        // Without the item headers: the markers say that the fragments are the frames all the same.
        ([0, size - 8, right[2] - 16], 4),
    ] {
        for frame in 1..=3 {
            let cut = object(&table).cut(&[frame]);
            if frame < lies_at {
                assert_eq!(cut.unwrap(), [FRAMES[frame as usize - 1]], "{table:?} {frame}");
            } else {
                assert!(matches!(cut, Err(Error::WrongOffsets)), "{table:?} {frame}: {cut:?}");
            }
        }
    }
}

#[test]
fn hazard_an_empty_fragment_is_no_frame() {
    let object = Build::new(JPEG).grey(2, 1, 1, 8).fragments(&[], &[b"", b""]);
    assert!(matches!(object.cut(&[1]), Err(Error::TooShort(1))));
    let rle = Build::new("1.2.840.10008.1.2.5").grey(2, 1, 1, 8).fragments(&[], &[b"", b"\x01\x02"]);
    assert!(matches!(rle.cut(&[1]), Err(Error::TooShort(1))));
}

#[test]
fn hazard_lengths_of_an_earlier_compression_cut_no_frame_short() {
    let object = |lengths: &[u64], last: &[u8]| {
        Build::new(JPEG).grey(3, 4, 4, 8).extended(&[0, 14, 30], lengths).fragments(&[], &[A, B, last])
    };
    assert_eq!(object(&[6, 7, 6], C).all().unwrap(), FRAMES);
    // Zeros are padding, however many they are, and so is a byte of anything.
    assert_eq!(object(&[6, 7, 6], b"\xFF\xD8\xFFc\xFF\xD9\0\0\0\0").all().unwrap(), FRAMES);
    assert_eq!(object(&[5, 7, 6], C).cut(&[1]).unwrap(), [&A[..5]]);
    for lengths in [[4, 7, 6], [0, 7, 6], [6, 5, 6], [6, 7, 2]] {
        let lies_at = 1 + lengths.iter().zip([6, 7, 6]).position(|(told, is)| *told != is).unwrap();
        for frame in 1..=3 {
            let cut = object(&lengths, C).cut(&[frame]);
            if frame as usize == lies_at {
                assert_eq!(cut, Err(Error::WrongOffsets), "{lengths:?} {frame}");
            } else {
                assert_eq!(cut.unwrap(), [FRAMES[frame as usize - 1]], "{lengths:?}");
            }
        }
    }
}

#[test]
fn hazard_frames_that_are_not_counted_are_not_joined_to_one() {
    let jxl = "1.2.840.10008.1.2.4.110";
    let segments = |last| [&[1, 0, 0, 0, 64, 0, 0, 0][..], &[last; 60]].concat();
    let (first, second) = (segments(1), segments(2));
    let (one, two) = (&b"\xFF\x0A12345678"[..], &b"\xFF\x0A1234569a"[..]);
    for (syntax, table, fragments) in [
        (JPEG, &[][..], vec![A, C]),
        (JPEG, &[0, 14], vec![A, C]),
        (JPEG, &[0], vec![b"\xFF\xD8\xFFbb", b"bb\xFF\xD9", C]),
        // The same beginning, and no end.
        (J2K, &[], vec![b"\xFF\x4F\xFF\x51\0\x2F\0\0a\0", b"\xFF\x4F\xFF\x51\0\x2F\0\0b\0"]),
        (RLE, &[], vec![&first, &second]),
        (RLE, &[0, 10], vec![b"ab", b"cd"]),
        (jxl, &[], vec![one, two]),
    ] {
        let object = Build::new(syntax).grey(1, 4, 4, 8).fragments(table, &fragments);
        assert_eq!(object.cut(&[1]), Err(Error::Surplus), "{syntax} {table:?}");
    }
    // One codestream, whatever the table has an entry for.
    let object = Build::new(JPEG).grey(1, 4, 4, 8);
    let object = object.fragments(&[0, 14], &[b"\xFF\xD8\xFFbbb", b"bb\xFF\xD9"]);
    assert_eq!(object.cut(&[1]).unwrap(), [b"\xFF\xD8\xFFbbbbb\xFF\xD9"]);
    // Fragments of a video begin alike, and so may those of pixels that are not compressed.
    let object = Build::new(MPEG4).grey(1, 4, 4, 8).fragments(&[], &[A, A]);
    assert_eq!(object.all().unwrap(), [[A, A].concat()]);
    let plain = Build::new("1.2.840.10008.1.2.1.98").grey(1, 4, 4, 8).fragments(&[0], &[&[0; 8], &[0; 8]]);
    assert_eq!(plain.all().unwrap(), [[0; 16]]);
}
