/*
 * pcap.h: byte streams as TCP conversations in a pcapng file (Wireshark), pure.
 *
 * Addresses and the TCP around the bytes are made up; bytes, their order and times are the record's. A section has
 * two interfaces without link layer (raw IPv4), times in nanoseconds. Sequence numbers are 1 + the offset in the
 * stream, modulo 2^32.
 *
 * Reference: draft-ietf-opsawg-pcapng; RFC 791, RFC 9293.
 */
#ifndef MAIN_PCAP_H
#define MAIN_PCAP_H

#include "base/buf.h"
#include "base/str.h"

enum { PCAP_MSS = 1460, PCAP_GAP_MAX = 16 * 1024 * 1024 };

/* One conversation; end 0 opened it. */
struct pcap_flow {
	unsigned interface;
	uint32_t address[2];
	uint16_t port[2];
	uint32_t next[2]; /* sequence number of what each end sends next */
};

/* Section header and the two interfaces. comment: about the section, UTF-8. */
void pcap_begin(struct buf *b, struct str comment, const char *const names[2]);
void pcap_open(struct buf *b, struct pcap_flow *f, uint64_t wall_ns);
void pcap_data(struct buf *b, struct pcap_flow *f, unsigned from, struct str bytes,
               uint64_t wall_ns);
/* Bytes that are not on the record: zeros, with a comment on the first packet. Beyond PCAP_GAP_MAX the rest is a hole in
 * the sequence. With a type they begin with the head of a PostgreSQL message as long as all of them, so that a
 * reader finds the next message; it is made up. */
struct pcap_gap {
	uint64_t n;
	uint8_t type; /* 0: none */
};
void pcap_gap(struct buf *b, struct pcap_flow *f, unsigned from, struct pcap_gap gap,
              uint64_t wall_ns);
void pcap_close(struct buf *b, struct pcap_flow *f, uint64_t wall_ns);

#endif
