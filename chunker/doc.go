// Package chunker cuts a text that arrives in arbitrary deltas into units:
// code points, grapheme clusters, tokens, words, lines, or the deltas
// themselves.
//
// # Invariants
//
// The contract is the comment of [Chunker]. What follows from it for all units
// but [Delta], which keeps the division into deltas:
//
//   - The chunks of a text, joined, are the text, after every byte that is not
//     part of valid UTF-8 has become U+FFFD, as in Go's conversion of a string
//     to []rune. Every chunk is valid UTF-8.
//   - Where a chunk ends depends on the text and the unit alone: not on how the
//     text was divided into deltas, not on time. A text that is cut again gives
//     the same chunks with the same numbers.
//   - No chunk is passed on that further text could change. What is held is
//     bounded: a unit that reaches its longest length is cut there, and counted.
//
// # Stages
//
// A delta passes up to four stages. Each holds back what it must, and sees the
// whole characters, then the text from the end of the last chunk on.
//
// Characters (utf8.go): the bytes of an incomplete character wait for the next
// delta. Whether a byte is invalid depends on up to three bytes around it, and
// they are always looked at together.
//
// Segments (rune.go, segment.go, line.go): clusters and words are those of UAX
// #29, "Unicode Text Segmentation", found by a library that is asked about the
// open segment again with each delta.
//
// Pieces (pretokenize.go): tiktoken divides a text by a regular expression and
// looks for tokens within each piece only. A state machine that takes one step
// a character stands for the expression. It knows when the end of a piece can
// no longer move, and where an open piece may yet end (its fork).
//
// Tokens (bpe.go, prefixes.go, token.go): the open piece is encoded while it
// grows, which the next section is about. Tokens that share a character come in
// one chunk.
//
// # Tokens of an open piece
//
// Byte pair encoding joins, again and again, the two neighbours that make the
// token of the lowest rank, the leftmost first. Three facts make an encoding of
// every prefix cheap. They are the idea of the crate bpe of GitHub
// (github.com/github/rust-gems), and of Jiang and Gong, "Incremental BPE
// Tokenization", arXiv:2605.30813.
//
// A boundary that is there in the end was never joined across, so the text on
// either side was encoded as if the other were not there. Therefore the last
// token of a prefix says all: the tokens before it are the encoding of the
// prefix that it leaves. [prefixes] keeps one token a byte.
//
// A token ends the encoding of a prefix if and only if it covers the prefix, or
// byte pair encoding leaves it apart from the token before it. This one
// question about two tokens (apart, in bpe.go) is answered from the joins that
// made them. Of all tokens that could end a prefix exactly one passes.
//
// Any two tokens that come to stand next to each other and have a join are the
// halves that this join has always been made of. So a table of pairs suffices,
// and a text that is a token is encoded as this token: each one of the
// encodings here can be reached by joining.
//
// What is certain of an open piece follows. A token that is still to come
// starts where the text up to now ends, or at one of the few places from which
// on it is the start of a token: an automaton over the vocabulary, of Aho and
// Corasick, tells them. The encoding of whatever the piece will be goes through
// one of these places. From each, the last tokens lead back to the start, and
// where all these ways have met, all encodings have a boundary and the same
// tokens before it: those are passed on. If the piece may also end at a fork,
// that place is one more.
//
// A fork can stay open for long: blanks after a newline, in o200k_base capitals
// after a letter without case or a mark. When all ways go through it, the piece is closed
// there. Whether it would have ended there or gone on, what follows is divided
// and encoded alike.
//
// As long as the whole open piece is the start of one token nothing is taken for
// certain and nothing is computed, which is most of the time in languages with blanks.
// A piece that closes within one delta is looked up, or encoded from scratch if
// it is short.
//
// Nothing bounds how far back the ways meet. In o200k_base four tokens join a
// letter without case to capitals, so that the first token of such a letter
// and an endless run of capitals depends on how the run ends. So an open piece
// is closed, as if the text ended, when 1 KiB of it is held.
//
// # Sources
//
//   - Unicode Standard Annex #29, Unicode Text Segmentation, for
//     Unicode 17.0: unicode.org/reports/tr29
//   - The patterns and vocabularies of openai/tiktoken,
//     tiktoken_ext/openai_public.py
//   - Jiang and Gong, Incremental BPE Tokenization, arXiv:2605.30813
//   - github.com/github/rust-gems, crate bpe
//   - Aho and Corasick, Efficient String Matching, CACM 18 (1975)
//   - The Unicode Standard, section 3.9, Unicode Encoding Forms (UTF-8)
package chunker
