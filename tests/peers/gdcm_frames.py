"""Has GDCM decode an image, as a second opinion; for Debian's Python, which python3-gdcm is for.

  gdcm_frames.py FILE    writes the samples of all frames; fails where GDCM cannot decode them, or crashes"""

import sys

import gdcm

gdcm.Trace.WarningOff()
gdcm.Trace.ErrorOff()
reader = gdcm.ImageReader()
reader.SetFileName(sys.argv[1])
if not reader.Read():
    sys.exit("GDCM cannot read it")
# Bytes that are no text, in a string.
sys.stdout.buffer.write(reader.GetImage().GetBuffer().encode("utf-8", "surrogateescape"))
