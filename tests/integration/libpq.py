"""libpq by ctypes: parameters and results in binary, which psql cannot ask for."""

import ctypes
import ctypes.util

PQ = ctypes.CDLL(ctypes.util.find_library("pq") or "libpq.so.5")
PQ.PQconnectdb.restype = ctypes.c_void_p
PQ.PQerrorMessage.restype = PQ.PQresultErrorMessage.restype = ctypes.c_char_p
for name in ("PQexecParams", "PQprepare", "PQexecPrepared", "PQexec"):
    getattr(PQ, name).restype = ctypes.c_void_p
PQ.PQgetvalue.restype = ctypes.c_void_p
PQ.PQftype.restype = ctypes.c_uint


class Error(Exception):
    pass


class Connection:
    def __init__(self, conninfo, password):
        self.c = ctypes.c_void_p(PQ.PQconnectdb(f"{conninfo} password={password}".encode()))
        if PQ.PQstatus(self.c) != 0:
            raise Error(PQ.PQerrorMessage(self.c).decode())

    def close(self):
        PQ.PQfinish(self.c)

    def _rows(self, result):
        result = ctypes.c_void_p(result)
        try:
            if PQ.PQresultStatus(result) not in (1, 2):
                raise Error(PQ.PQresultErrorMessage(result).decode())
            self.types = [PQ.PQftype(result, f) for f in range(PQ.PQnfields(result))]
            return [[None if PQ.PQgetisnull(result, r, f) else ctypes.string_at(PQ.PQgetvalue(result, r, f), PQ.PQgetlength(result, r, f))
                     for f in range(len(self.types))] for r in range(PQ.PQntuples(result))]
        finally:
            PQ.PQclear(result)

    @staticmethod
    def _params(values):
        n = len(values)
        raw = (ctypes.c_char_p * n)(*values)
        lengths = (ctypes.c_int * n)(*(len(v or b"") for v in values))
        return n, raw, lengths

    def query(self, sql, values=(), types=(), binary=0, result=0):
        """Extended protocol: values are bytes or None; returns rows of bytes."""
        n, raw, lengths = self._params(values)
        oids = (ctypes.c_uint * n)(*(types or [0] * n))
        formats = (ctypes.c_int * n)(*([binary] * n))
        return self._rows(PQ.PQexecParams(self.c, sql.encode(), n, oids, raw, lengths, formats, result))

    def simple(self, sql):
        return self._rows(PQ.PQexec(self.c, sql.encode()))

    def prepare(self, name, sql, types=()):
        oids = (ctypes.c_uint * len(types))(*types)
        self._rows(PQ.PQprepare(self.c, name.encode(), sql.encode(), len(types), oids))

    def execute(self, name, values, binary=0):
        n, raw, lengths = self._params(values)
        formats = (ctypes.c_int * n)(*([binary] * n))
        return self._rows(PQ.PQexecPrepared(self.c, name.encode(), n, raw, lengths, formats, 0))
