// Objects on disk: one SQLite table. WAL with synchronous=NORMAL, so a commit is in the operating system's hands when it
// returns: it survives SIGKILL of this process at any moment (a power cut may lose the last commits, never tear one).

import { DatabaseSync, type StatementSync } from 'node:sqlite';

/** One change to one object. `json` undefined removes it. */
export interface RowChange {
  readonly collection: string;
  readonly key: string;
  readonly json: string | undefined;
}

export interface Row {
  readonly collection: string;
  readonly key: string;
  readonly json: string;
}

/** The database cannot be opened or written; what is in it is as before. */
export class DatabaseError extends Error {
  readonly full: boolean;
  constructor(message: string, full: boolean, cause: unknown) {
    super(message, { cause });
    this.full = full;
  }
}

const FORMAT = 1;

export class Database {
  readonly #db: DatabaseSync;
  readonly #put: StatementSync;
  readonly #remove: StatementSync;
  readonly #setVersion: StatementSync;
  readonly #path: string;

  /** @param path file, or `:memory:` */
  constructor(path: string) {
    this.#path = path;
    try {
      this.#db = new DatabaseSync(path);
      this.#db.exec(`
        PRAGMA journal_mode = WAL;
        PRAGMA synchronous = NORMAL;
        PRAGMA busy_timeout = 2000;
        PRAGMA locking_mode = EXCLUSIVE;
        CREATE TABLE IF NOT EXISTS objects (collection TEXT NOT NULL, key TEXT NOT NULL, json TEXT NOT NULL,
          PRIMARY KEY (collection, key)) WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
      `);
      const format = this.meta('format');
      if (format === undefined)
        this.#db.exec(`INSERT INTO meta VALUES ('format', '${FORMAT}'), ('resourceVersion', '1')`);
      else if (Number(format) !== FORMAT) throw new Error(`its format is ${format}, this Ambit reads ${FORMAT}`);
    } catch (error) {
      throw this.#error('cannot be opened', error);
    }
    this.#put = this.#db.prepare('INSERT OR REPLACE INTO objects VALUES (?, ?, ?)');
    this.#remove = this.#db.prepare('DELETE FROM objects WHERE collection = ? AND key = ?');
    this.#setVersion = this.#db.prepare("UPDATE meta SET value = ? WHERE name = 'resourceVersion'");
  }

  /** The highest resourceVersion that was ever committed. */
  get resourceVersion(): number {
    return Number(this.meta('resourceVersion') ?? '1');
  }

  *rows(): Generator<Row> {
    const select = this.#db.prepare('SELECT collection, key, json FROM objects ORDER BY collection, key');
    for (const row of select.iterate()) yield row as unknown as Row;
  }

  /**
   * Makes all changes or none.
   * @throws DatabaseError, and nothing has changed
   */
  commit(changes: readonly RowChange[], resourceVersion: number): void {
    try {
      this.#db.exec('BEGIN IMMEDIATE');
      for (const { collection, key, json } of changes)
        if (json === undefined) this.#remove.run(collection, key);
        else this.#put.run(collection, key, json);
      this.#setVersion.run(String(resourceVersion));
      this.#db.exec('COMMIT');
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      throw this.#error('cannot be written', error);
    }
  }

  close(): void {
    if (this.#db.isOpen) this.#db.close();
  }

  /** A named value beside the objects: the format, the cluster's keys. */
  meta(name: string): string | undefined {
    const row = this.#db.prepare('SELECT value FROM meta WHERE name = ?').get(name);
    return row === undefined ? undefined : String(row.value);
  }

  /** @throws DatabaseError */
  setMeta(name: string, value: string): void {
    try {
      this.#db.prepare('INSERT OR REPLACE INTO meta VALUES (?, ?)').run(name, value);
    } catch (error) {
      throw this.#error('cannot be written', error);
    }
  }

  #error(what: string, error: unknown): DatabaseError {
    const { message, errcode } = error as Error & { errcode?: number };
    const full = errcode === 13 || /full/.test(message); // SQLITE_FULL
    const fix = full ? '; free some space on that disk' : '';
    return new DatabaseError(`the database \`${this.#path}\` ${what}: ${message}${fix}`, full, error);
  }
}
