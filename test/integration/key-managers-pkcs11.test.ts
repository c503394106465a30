import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync } from 'node:fs';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { KeyManager } from '../../src/authority/index.ts';
import { createPkcs11KeyManager, type Pkcs11KeyManagerOptions } from '../../src/authority/key-managers/pkcs11.ts';
import { CKA, CKO, TOKEN_FLAGS } from '../../src/authority/key-managers/pkcs11-codes.ts';
import { loadPkcs11, type Handle, type Pkcs11Library } from '../../src/authority/key-managers/pkcs11-library.ts';
import { openPkcs11Token } from '../../src/authority/key-managers/pkcs11-token.ts';
import { silentLogger, type Logger } from '../../src/core/index.ts';
import { keyManagerContract, type OpenedKeyManager } from '../support/key-manager-contract.ts';
import { softHsmModule, startSoftHsm, withoutSoftHsm, type SoftHsm } from '../support/softhsm.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { waitUntil } from '../support/wait-until.ts';

const LABEL = 'svidgate test';
const PREFIX = 'svidgate/example.test';
const PIN_VARIABLE = 'SVIDGATE_TEST_PIN';
const DATA = Buffer.from('what is to be signed');

type Settings = Partial<Pkcs11KeyManagerOptions>;

/** A key manager on a token of its own. */
interface OnSoftHsm extends AsyncDisposable {
  readonly hsm: SoftHsm;
  readonly keys: KeyManager;
}

async function openKeys(hsm: SoftHsm, settings: Settings = {}): Promise<KeyManager> {
  process.env[PIN_VARIABLE] = hsm.pin;
  return await createPkcs11KeyManager({
    module: softHsmModule,
    token: { label: LABEL },
    pin: { env: PIN_VARIABLE },
    keyLabelPrefix: PREFIX,
    logger: silentLogger,
    ...settings,
  });
}

async function openOnSoftHsm(settings: Settings = {}): Promise<OnSoftHsm> {
  const hsm = await startSoftHsm(LABEL);
  const keys = await openKeys(hsm, settings);
  return {
    hsm,
    keys,
    async [Symbol.asyncDispose]() {
      await keys.close();
      await hsm[Symbol.asyncDispose]();
    },
  };
}

/** What SoftHSM itself says, through a session in this process. */
async function inToken<T>(hsm: SoftHsm, look: (library: Pkcs11Library, session: Handle) => T): Promise<T> {
  const library = loadPkcs11(softHsmModule);
  try {
    const slot = library.slots().find((slot) => library.tokenInfo(slot).label === LABEL);
    assert.ok(slot !== undefined);
    const session = library.openSession(slot);
    library.login(session, Buffer.from(hsm.pin));
    return look(library, session);
  } finally {
    library.finalize();
  }
}

/** Pids of the processes that hold the module. */
function children(parent = process.pid): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
        const [, ppid] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
        return Number(ppid) === parent && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('pkcs11-child');
      } catch {
        return false;
      }
    });
}

function onlyChild(): number {
  const [pid, ...others] = children();
  assert.ok(pid !== undefined && others.length === 0);
  return pid;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
  } catch {
    return false;
  }
}

function recordingLogger(warnings: string[]): Logger {
  return { ...silentLogger, warn: ({ reason }, message) => void warnings.push(`${message}: ${reason}`) };
}

keyManagerContract(
  'pkcs11 on SoftHSM',
  async (): Promise<OpenedKeyManager> => {
    const hsm = await startSoftHsm(LABEL);
    let keys = await openKeys(hsm);
    return {
      keys,
      reopen: async () => {
        await keys.close();
        keys = await openKeys(hsm);
        return keys;
      },
      breakBackEnd: async () => {
        await rename(hsm.tokens, `${hsm.tokens}-away`);
        process.kill(onlyChild(), 'SIGKILL');
      },
      [Symbol.asyncDispose]: async () => {
        await keys.close();
        await hsm[Symbol.asyncDispose]();
      },
    };
  },
  { skip: withoutSoftHsm },
);

describe('keys in a token', { skip: withoutSoftHsm }, () => {
  it('are sensitive, not extractable, only for signing, and labelled PREFIX/ID', async () => {
    await using opened = await openOnSoftHsm();
    await opened.keys.generate('ec', 'ec-p256');
    await opened.keys.generate('rsa', 'rsa-2048');
    await inToken(opened.hsm, (library, session) => {
      const found = library.find(session, [{ type: CKA.CLASS, value: CKO.PRIVATE_KEY }]);
      const read = (key: Handle, type: number): string =>
        Buffer.from(library.attribute(session, key, type) ?? []).toString('hex');
      const labels = found.map((key) => Buffer.from(read(key, CKA.LABEL), 'hex').toString());
      assert.deepEqual(labels.sort(), [`${PREFIX}/ec`, `${PREFIX}/rsa`]);
      const CKA_VALUE = 0x11;
      const CKA_PRIVATE_EXPONENT = 0x123;
      for (const key of found) {
        for (const type of [CKA.SENSITIVE, CKA.PRIVATE, CKA.TOKEN, CKA.SIGN]) assert.equal(read(key, type), '01');
        const isRsa = read(key, CKA.KEY_TYPE).startsWith('00');
        const unset = isRsa ? [CKA.EXTRACTABLE, CKA.DECRYPT, CKA.UNWRAP] : [CKA.EXTRACTABLE, CKA.DERIVE];
        for (const type of unset) assert.equal(read(key, type), '00');
        for (const type of [CKA_VALUE, CKA_PRIVATE_EXPONENT])
          assert.equal(library.attribute(session, key, type), undefined);
      }
    });
  });

  it('of another prefix are neither seen nor touched', async () => {
    await using opened = await openOnSoftHsm();
    await using others = await openKeys(opened.hsm, { keyLabelPrefix: `${PREFIX}/more` }).then((keys) => ({
      keys,
      [Symbol.asyncDispose]: () => keys.close(),
    }));
    const other = await others.keys.generate('key', 'ec-p256');
    await opened.keys.generate('key', 'ec-p256');
    await opened.keys.remove('key');
    assert.deepEqual(await opened.keys.list(), []);
    assert.deepEqual(await others.keys.list(), ['key']);
    assert.ok((await other.sign(DATA)).length > 0);
  });

  it('that a crash left in part or twice: the newest whole one counts, and the next generate clears up', async () => {
    await using opened = await openOnSoftHsm();
    const { hsm, keys } = opened;
    await keys.generate('key', 'ec-p256');
    const remove = async (tokenClass: number): Promise<void> =>
      await inToken(hsm, (library, session) => {
        for (const object of library.find(session, [{ type: CKA.CLASS, value: tokenClass }])) {
          library.destroy(session, object);
        }
      });
    // A half is left behind.
    for (const half of [CKO.PRIVATE_KEY, CKO.PUBLIC_KEY]) {
      await keys.generate('key', 'ec-p256');
      await remove(half);
      assert.deepEqual(await keys.list(), []);
      assert.equal(await keys.find('key'), undefined);
    }
    const made = await keys.generate('key', 'ec-p256');
    const count = await inToken(hsm, (library, session) => library.find(session, []).length);
    assert.equal(count, 2);
    // Destroying the old pair never happened: both are whole.
    const tokens = await inToken(hsm, (library, session) => {
      const template = { token: true, label: `${PREFIX}/key` };
      const newer = Buffer.from(`ffffff00${'00'.repeat(12)}`, 'hex');
      library.generateKeyPair(session, 0x1040, {
        publicKey: [
          { type: CKA.TOKEN, value: template.token },
          { type: CKA.LABEL, value: template.label },
          { type: CKA.ID, value: newer },
          { type: CKA.EC_PARAMS, value: Buffer.from('06052b81040022', 'hex') },
        ],
        privateKey: [
          { type: CKA.TOKEN, value: template.token },
          { type: CKA.LABEL, value: template.label },
          { type: CKA.ID, value: newer },
          { type: CKA.SIGN, value: true },
        ],
      });
      return library.find(session, []).length;
    });
    assert.equal(tokens, 4);
    assert.deepEqual(await keys.list(), ['key']);
    assert.equal((await keys.find('key'))?.type, 'ec-p384');
    assert.ok((await made.sign(DATA)).length > 0, 'the older handle still signs with its own key');
    await keys.remove('key');
    assert.equal(await inToken(hsm, (library, session) => library.find(session, []).length), 0);
  });

  it('that vanish from the token give an error with their name', async () => {
    await using opened = await openOnSoftHsm();
    const key = await opened.keys.generate('key', 'ec-p256');
    await opened.keys.remove('key');
    const message = `key ${PREFIX}/key is not in the PKCS #11 token any more`;
    await assert.rejects(key.sign(DATA), { code: 'key_manager_failed', message });
  });
});

describe('a PKCS #11 token', { skip: withoutSoftHsm }, () => {
  const wrong: readonly { name: string; settings: Settings; message: RegExp }[] = [
    {
      name: 'of another label',
      settings: { token: { label: 'none' } },
      message: /there is no token with the label "none"/,
    },
    { name: 'in an empty slot', settings: { token: { slot: 99 } }, message: /slot 99 holds no token/ },
    { name: 'with no module', settings: { module: '/none.so' }, message: /\/none\.so/ },
    { name: 'with a library that is no module', settings: { module: 'libc.so.6' }, message: /C_GetFunctionList/ },
    { name: 'with no PIN', settings: { pin: { env: 'SVIDGATE_NONE' } }, message: /SVIDGATE_NONE is not set/ },
  ];
  for (const { name, settings, message } of wrong) {
    it(`${name} is refused at the start, and no process stays`, async () => {
      await using hsm = await startSoftHsm(LABEL);
      await assert.rejects(openKeys(hsm, settings), { code: 'key_manager_failed', message });
      assert.deepEqual(children(), []);
    });
  }

  it('is found by its slot; two of one label are told apart by it only', async () => {
    await using hsm = await startSoftHsm(LABEL);
    const slots = async (): Promise<readonly Handle[]> =>
      await inToken(hsm, (library) => library.slots().filter((slot) => library.tokenInfo(slot).label === LABEL));
    const [first] = await slots();
    await hsm.addToken(LABEL);
    await assert.rejects(openKeys(hsm), { code: 'key_manager_failed', message: /2 tokens have the label/ });
    const keys = await openKeys(hsm, { token: { slot: Number(first) } });
    try {
      assert.deepEqual(await keys.list(), []);
    } finally {
      await keys.close();
    }
  });

  it('that refuses the PIN is not asked again before the PIN is changed', async () => {
    await using hsm = await startSoftHsm(LABEL);
    await using folder = await tempFolder();
    const file = join(folder.path, 'pin');
    await writeFile(file, `${hsm.pin}\n`, { mode: 0o600 });
    const keys = await openKeys(hsm, { pin: { file } });
    try {
      const key = await keys.generate('key', 'ec-p256');
      await writeFile(file, 'wrong-pin\n');
      process.kill(onlyChild(), 'SIGKILL');
      await assert.rejects(key.sign(DATA), {
        code: 'key_manager_failed',
        message: `the PKCS #11 token cannot be used: token "${LABEL}" refuses the PIN: C_Login gave CKR_PIN_INCORRECT`,
      });
      const refused = `the PKCS #11 token cannot be used: the PIN in ${file} was refused, and is not tried again until it is changed`;
      await waitUntil('the cool-down', 15_000, async () => {
        const error = await key.sign(DATA).catch((caught: unknown) => caught);
        return error instanceof Error && error.message === refused;
      });
      assert.deepEqual(children(), []);
      await writeFile(file, hsm.pin);
      await waitUntil('the right PIN to be taken', 15_000, async () => (await key.sign(DATA)).length > 0);
    } finally {
      await keys.close();
    }
  });

  it('that is about to lock itself up is not given the last try', async () => {
    await using hsm = await startSoftHsm(LABEL);
    const library = loadPkcs11(softHsmModule);
    try {
      for (const [flag, message] of [
        ['USER_PIN_FINAL_TRY', /one PIN try left/],
        ['USER_PIN_LOCKED', /is locked/],
      ] as const) {
        let logins = 0;
        const guarded: Pkcs11Library = {
          ...library,
          tokenInfo(slot) {
            const info = library.tokenInfo(slot);
            return { ...info, flags: info.flags | TOKEN_FLAGS[flag] };
          },
          login: () => void logins++,
        };
        const open = (): unknown => openPkcs11Token(guarded, { label: LABEL }, Buffer.from(hsm.pin));
        assert.throws(open, { name: 'PinRefused', message });
        assert.equal(logins, 0);
      }
    } finally {
      library.finalize();
    }
  });

  it('whose process is killed is opened again at the next call, with one warning', async () => {
    const warnings: string[] = [];
    await using opened = await openOnSoftHsm({ logger: recordingLogger(warnings) });
    const key = await opened.keys.generate('key', 'ec-p256');
    const pid = onlyChild();
    process.kill(pid, 'SIGSTOP');
    const signing = key.sign(DATA); // on its way to a process that does not read it
    process.kill(pid, 'SIGKILL');
    assert.ok((await signing).length > 0);
    assert.deepEqual(warnings, ['the pkcs11 session was lost and is opened again: its process ended by SIGKILL']);
    assert.notEqual(onlyChild(), pid);
  });

  it('that does not answer in time fails the call, and the next ones at once; then it is opened again', async () => {
    await using opened = await openOnSoftHsm({ timeLimitMs: 5000 });
    const key = await opened.keys.generate('key', 'ec-p256');
    process.kill(onlyChild(), 'SIGSTOP');
    const started = performance.now();
    const calls = [key.sign(DATA), key.sign(DATA), opened.keys.list()];
    for (const call of calls) {
      await assert.rejects(call, { code: 'key_manager_failed', message: /no answer within 5 s/ });
    }
    assert.ok(performance.now() - started < 9000, 'the limit is waited for once');
    assert.deepEqual(children(), []);
    await waitUntil('a new session', 15_000, async () => (await key.sign(DATA)).length > 0);
  });

  it('that is taken away fails, and is used again when it is back', async () => {
    await using opened = await openOnSoftHsm();
    const { hsm, keys } = opened;
    const key = await keys.generate('key', 'ec-p256');
    await rename(hsm.tokens, `${hsm.tokens}-away`);
    await assert.rejects(keys.generate('other', 'ec-p256'), { code: 'key_manager_failed' });
    await rename(`${hsm.tokens}-away`, hsm.tokens);
    await waitUntil('the token to be used again', 15_000, async () => (await key.sign(DATA)).length > 0);
    assert.deepEqual(await keys.list(), ['key']);
  });

  it('has its PIN from us alone: not in its environment, nor in any command line', async () => {
    await using opened = await openOnSoftHsm();
    const pid = onlyChild();
    for (const file of ['environ', 'cmdline']) {
      const text = await readFile(`/proc/${pid}/${file}`, 'utf8');
      assert.ok(!text.includes(opened.hsm.pin), file);
    }
  });

  it('lets go when it is closed, also with calls on their way', async () => {
    await using hsm = await startSoftHsm(LABEL);
    const keys = await openKeys(hsm);
    const key = await keys.generate('key', 'ec-p256');
    const calls = Array.from({ length: 20 }, () =>
      key.sign(DATA).then(
        () => 'signed',
        (error: { code?: string }) => error.code,
      ),
    );
    await keys.close();
    assert.deepEqual(children(), []);
    for (const outcome of await Promise.all(calls)) assert.ok(outcome === 'signed' || outcome === 'key_manager_failed');
  });

  it('is let go when we are killed', async () => {
    await using hsm = await startSoftHsm(LABEL);
    const module = new URL('../../src/authority/key-managers/pkcs11.ts', import.meta.url).href;
    const script = `const { createPkcs11KeyManager } = await import(${JSON.stringify(module)});
      await createPkcs11KeyManager({ module: ${JSON.stringify(softHsmModule)}, token: { label: '${LABEL}' },
        pin: { env: '${PIN_VARIABLE}' }, keyLabelPrefix: 'a', logger: { warn() {} } });
      console.log('open');`;
    const env = { ...process.env, [PIN_VARIABLE]: hsm.pin };
    const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env,
    });
    try {
      await once(parent.stdout, 'data');
      const [child, ...others] = children(parent.pid);
      assert.ok(child !== undefined && others.length === 0);
      parent.kill('SIGKILL');
      await waitUntil('the child to end', 10_000, () => !isAlive(child));
    } finally {
      parent.kill('SIGKILL');
    }
  });
});
