// pgjdbc: prepared on the server from the fifth execution on, binary transfer, fetch size, autosave.
import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.StringReader;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.SQLWarning;
import java.sql.Statement;
import java.sql.Types;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.jdbc.AutoSave;

public class Main {
	static final Gson GSON = new GsonBuilder().serializeNulls().disableHtmlEscaping().create();
	static final int LARGE = Integer.parseInt(System.getenv().getOrDefault("HSD_LARGE", "1000"));
	static Connection con;

	interface Work {
		Object get() throws Exception;
	}

	static String digest(String text) throws Exception {
		byte[] sum = MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8));
		return HexFormat.of().formatHex(sum).substring(0, 16);
	}

	static Object attempt(Work work) throws Exception {
		try {
			return work.get();
		} catch (SQLException e) {
			return Map.of("error", e.getSQLState());
		}
	}

	static Object form(JsonObject step, ResultSet r) throws Exception {
		List<List<String>> rows = new ArrayList<>();
		int n = r.getMetaData().getColumnCount();
		while (r.next()) {
			List<String> row = new ArrayList<>();
			for (int i = 1; i <= n; i++) {
				boolean isBytes = r.getMetaData().getColumnType(i) == Types.BINARY;
				row.add(isBytes ? HexFormat.of().formatHex(r.getBytes(i)) : r.getString(i));
			}
			rows.add(row);
		}
		if (!step.has("digest"))
			return rows;
		List<String> lines = new ArrayList<>();
		for (List<String> row : rows)
			lines.add(String.join("\t", row.stream().map(c -> c == null ? "\\N" : c).toList()));
		return List.of(String.valueOf(rows.size()), digest(String.join("\n", lines)));
	}

	static String text(JsonObject step) {
		return step.get("sql").getAsString().replace("{large}", String.valueOf(LARGE)).replaceAll("\\$\\d+", "?");
	}

	static String text(JsonObject step, int i) {
		return step.getAsJsonArray("sql").get(i).getAsString();
	}

	static Object ask(JsonObject step, String sql) throws Exception {
		try (Statement s = con.createStatement()) {
			return s.execute(sql) ? form(step, s.getResultSet()) : null;
		}
	}

	static void bind(PreparedStatement p, JsonArray values) throws SQLException {
		for (int i = 0; i < values.size(); i++) {
			JsonElement v = values.get(i);
			if (v.isJsonNull())
				p.setNull(i + 1, Types.VARCHAR);
			else if (v.getAsJsonPrimitive().isNumber())
				p.setInt(i + 1, v.getAsInt());
			else
				p.setString(i + 1, v.getAsString());
		}
	}

	static Object prepared(JsonObject step) throws Exception {
		List<Object> got = new ArrayList<>();
		try (PreparedStatement p = con.prepareStatement(text(step))) {
			for (JsonElement values : step.getAsJsonArray("params")) {
				bind(p, values.getAsJsonArray());
				got.add(form(step, p.executeQuery()));
			}
		}
		return got;
	}

	static Object one(JsonObject step, JsonArray values) throws Exception {
		try (PreparedStatement p = con.prepareStatement(text(step))) {
			bind(p, values);
			return form(step, p.executeQuery());
		}
	}

	static Object batch(JsonObject step) throws Exception {
		try (PreparedStatement p = con.prepareStatement(text(step))) {
			for (JsonElement values : step.getAsJsonArray("params")) {
				bind(p, values.getAsJsonArray());
				p.addBatch();
			}
			p.executeBatch();
		}
		return null;
	}

	static Object sequence(JsonObject step) throws Exception {
		List<Object> got = new ArrayList<>();
		for (JsonElement sql : step.getAsJsonArray("sql"))
			got.add(attempt(() -> ask(step, sql.getAsString())));
		return got;
	}

	static Object copyIn(JsonObject step, String lines) throws Exception {
		con.unwrap(PGConnection.class).getCopyAPI().copyIn(step.get("sql").getAsString(), new StringReader(lines));
		return null;
	}

	static String copyLines(JsonObject step) {
		StringBuilder b = new StringBuilder();
		for (int i = 1; i <= step.get("rows").getAsInt(); i++)
			b.append(i).append("\trow ").append(i).append('\n');
		return b.toString();
	}

	static Object copyOut(JsonObject step) throws Exception {
		StringWriter out = new StringWriter();
		con.unwrap(PGConnection.class).getCopyAPI().copyOut(step.get("sql").getAsString(), out);
		return List.of(String.valueOf(out.toString().chars().filter(c -> c == '\n').count()), digest(out.toString()));
	}

	static Object notice(JsonObject step) throws Exception {
		List<String> got = new ArrayList<>();
		try (Statement s = con.createStatement()) {
			s.execute(step.get("sql").getAsString());
			for (SQLWarning w = s.getWarnings(); w != null; w = w.getNextWarning())
				got.add(w.getMessage());
		}
		return got;
	}

	static Object cancel(JsonObject step) throws Exception {
		try (Statement s = con.createStatement()) {
			boolean[] isOver = { false };
			Thread thread = new Thread(() -> {
				try {
					for (;;) {
						Thread.sleep(300);
						if (isOver[0])
							return;
						s.cancel();
					}
				} catch (InterruptedException | SQLException e) {
					throw new IllegalStateException(e);
				}
			});
			thread.start();
			Object got = attempt(() -> s.execute(step.get("sql").getAsString()));
			isOver[0] = true;
			thread.join();
			return got;
		}
	}

	static Object cursor(JsonObject step) throws Exception {
		con.setAutoCommit(false);
		long n = 0, sum = 0;
		try (PreparedStatement p = con.prepareStatement(text(step))) {
			p.setFetchSize(step.get("fetch").getAsInt());
			ResultSet r = p.executeQuery();
			for (; r.next(); n++)
				sum += Long.parseLong(r.getString(1));
		}
		con.commit();
		con.setAutoCommit(true);
		return List.of(String.valueOf(n), String.valueOf(sum));
	}

	static Object transaction(JsonObject step) throws Exception {
		con.setAutoCommit(false);
		ask(step, text(step, 0));
		con.commit();
		ask(step, text(step, 1));
		con.rollback();
		con.setAutoCommit(true);
		return ask(step, text(step, 2));
	}

	static Object autosave(JsonObject step) throws Exception {
		PGConnection pg = con.unwrap(PGConnection.class);
		pg.setAutosave(AutoSave.ALWAYS);
		con.setAutoCommit(false);
		ask(step, text(step, 0));
		attempt(() -> ask(step, text(step, 1)));
		Object got = ask(step, text(step, 2));
		con.commit();
		con.setAutoCommit(true);
		pg.setAutosave(AutoSave.NEVER);
		return got;
	}

	static Object listen(JsonObject step) throws Exception {
		ask(step, text(step, 0));
		ask(step, text(step, 1));
		PGNotification[] got = con.unwrap(PGConnection.class).getNotifications(10000);
		return List.of(got[0].getName(), got[0].getParameter());
	}

	static Object largeIn(JsonObject step) throws Exception {
		JsonArray values = new JsonArray();
		values.add("y".repeat(LARGE));
		return one(step, values);
	}

	static Work work(JsonObject step) {
		return switch (step.get("op").getAsString()) {
		case "query" -> () -> ask(step, text(step));
		case "params" -> () -> one(step, step.getAsJsonArray("params"));
		case "prepared" -> () -> prepared(step);
		case "sequence" -> () -> sequence(step);
		case "copy_in" -> () -> copyIn(step, copyLines(step));
		case "copy_fails" -> () -> copyIn(step, "x\ty\n");
		case "copy_out" -> () -> copyOut(step);
		case "notice" -> () -> notice(step);
		case "cancel" -> () -> cancel(step);
		case "cursor" -> () -> cursor(step);
		case "transaction" -> () -> transaction(step);
		case "autosave" -> () -> autosave(step);
		case "batch" -> () -> batch(step);
		case "listen" -> () -> listen(step);
		case "large_in" -> () -> largeIn(step);
		default -> null;
		};
	}

	public static void main(String[] args) throws Exception {
		Map<String, String> env = System.getenv();
		Properties settings = new Properties();
		settings.setProperty("user", env.get("PGUSER"));
		settings.setProperty("password", env.get("PGPASSWORD"));
		settings.setProperty("sslmode", env.get("PGSSLMODE"));
		if (env.containsKey("PGSSLROOTCERT"))
			settings.setProperty("sslrootcert", env.get("PGSSLROOTCERT"));
		con = DriverManager.getConnection("jdbc:postgresql://" + env.get("PGHOST") + ":" + env.get("PGPORT") + "/" + env.get("PGDATABASE"), settings);
		String only = env.get("HSD_STEPS");
		for (JsonElement e : JsonParser.parseString(Files.readString(Path.of(args[0]))).getAsJsonArray()) {
			JsonObject step = e.getAsJsonObject();
			Work work = work(step);
			if (work == null || (only != null && !only.isEmpty() && !List.of(only.split(",")).contains(step.get("step").getAsString())))
				continue;
			JsonObject line = new JsonObject();
			line.add("step", step.get("step"));
			line.add("result", GSON.toJsonTree(attempt(work)));
			System.out.println(GSON.toJson(line));
		}
		con.close();
	}
}
