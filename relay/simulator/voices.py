"""What an answer sounds like.

The parrot says what it heard, to the sample. `speak` reads text with a small formant synthesiser: not words that a
person could understand, but syllables with pitch, formants and consonants, one group per word, so that it sounds like
somebody talking, is heard as speech by turn detection, and is the same every time. Tests that need a talking person
without a recording may use it: `speak("some words")` is PCM16 at 24 kHz.
"""

from __future__ import annotations

import re
import zlib
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from relay.simulator.pcm import RATE_HZ, bytes_of, duration_ms

Floats = npt.NDArray[np.float64]

PITCH_HZ = 125.0
HARMONICS_TO_HZ = 3_800
VOWEL_S, CONSONANT_S, GAP_S = 0.13, 0.035, 0.05
FADE_S = 0.012
# Few different vowels, each made once: a long text must not hold up the sessions beside it.
PITCH_STEPS = 6
SPEAKING_PEAK = 0.4
CONSONANT_LEVEL = 0.12
# First three formants in Hz, after Peterson and Barney's averages for men.
FORMANTS = {
    "a": (730, 1090, 2440),
    "e": (530, 1840, 2480),
    "i": (270, 2290, 3010),
    "o": (570, 840, 2410),
    "u": (300, 870, 2240),
    "y": (390, 1990, 2550),
}
BANDWIDTH_HZ = 110.0
SPOKEN_LETTERS_MAX = 2_000


def parrot_transcript(pcm: bytes) -> str:
    """The transcript of what the parrot says."""
    return f"(parrot) {heard(pcm)[1:-1]}"


def heard(pcm: bytes) -> str:
    """All that can honestly be said about speech without recognising it."""
    return f"({duration_ms(pcm) / 1000:.1f} s of speech)"


@lru_cache(maxsize=8)
def speak(text: str) -> bytes:
    """Text as PCM16 at 24 kHz: about 0.2 s per syllable, 50 ms between words. Nothing for no letters."""
    words = [word for word in re.split(r"\W+", text[:SPOKEN_LETTERS_MAX].lower()) if word]
    if not words:
        return b""
    gap = np.zeros(int(GAP_S * RATE_HZ))
    pieces = [piece for index, word in enumerate(words) for piece in (*_word(word, index, len(words)), gap)]
    voice = np.concatenate(pieces)
    return bytes_of(voice * (SPEAKING_PEAK / np.abs(voice).max()))


def _word(word: str, index: int, count: int) -> list[Floats]:
    """Consonant and vowel, as often as the word has groups of vowels; the pitch falls over the sentence."""
    pitch = PITCH_HZ * (1.15 - 0.3 * (PITCH_STEPS * index // count) / PITCH_STEPS)
    pieces = []
    for consonants, vowels in re.findall(r"([^aeiouy]*)([aeiouy]*)", word):
        if consonants:
            pieces.append(_consonant(consonants))
        if vowels or consonants == word:
            pieces.append(_vowel(vowels[:1] or "e", pitch))
    return pieces


@lru_cache(maxsize=len(FORMANTS) * PITCH_STEPS)
def _vowel(letter: str, pitch_hz: float) -> Floats:
    """Harmonics of a gliding pitch, each as strong as the formants make it."""
    seconds = np.arange(int(VOWEL_S * RATE_HZ)) / RATE_HZ
    phase = 2 * np.pi * pitch_hz * (seconds - 0.4 * seconds**2)
    orders = np.arange(1, int(HARMONICS_TO_HZ / pitch_hz))
    strengths = sum(
        (0.5**rank) / (1 + ((orders * pitch_hz - formant) / BANDWIDTH_HZ) ** 2)
        for rank, formant in enumerate(FORMANTS[letter])
    )
    tone = (np.sin(np.outer(orders, phase)) * np.asarray(strengths)[:, None]).sum(axis=0)
    return _faded(tone / np.abs(tone).max())


@lru_cache(maxsize=128)
def _consonant(letters: str) -> Floats:
    """A short hiss, different for every spelling and always the same for one."""
    random = np.random.default_rng(zlib.crc32(letters.encode()))
    return _faded(random.uniform(-CONSONANT_LEVEL, CONSONANT_LEVEL, int(CONSONANT_S * RATE_HZ)))


def _faded(sound: Floats) -> Floats:
    ramp = np.minimum(1.0, np.arange(len(sound)) / (FADE_S * RATE_HZ))
    return np.asarray(sound * ramp * ramp[::-1])
