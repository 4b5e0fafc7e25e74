package chunker

// RankLoader lets tests give tiktoken-go the vocabularies of this package.
type RankLoader = rankLoader
