/**
 * The choice of microphone and of voice processing.
 *
 * Browsers name the devices only after the person has allowed one, so refresh() is called again when a session stands;
 * until then the list has one entry. Emits "change" when the person chose something else.
 */

export class Microphones extends EventTarget {
  #select;
  #processing;

  /** @param {HTMLSelectElement} select @param {HTMLInputElement} processing  a checkbox */
  constructor(select, processing) {
    super();
    this.#select = select;
    this.#processing = processing;
    for (const control of [select, processing]) {
      control.addEventListener("change", () => this.dispatchEvent(new Event("change")));
    }
    navigator.mediaDevices?.addEventListener("devicechange", () => this.refresh());
    this.refresh();
  }

  /** @returns {{deviceId: string, voiceProcessing: boolean}} options for RelayClient */
  get choice() {
    return { deviceId: this.#select.value, voiceProcessing: this.#processing.checked };
  }

  async refresh() {
    const devices = (await navigator.mediaDevices?.enumerateDevices().catch(() => [])) ?? [];
    const inputs = devices.filter(({ kind, deviceId }) => kind === "audioinput" && deviceId && deviceId !== "default");
    const chosen = this.#select.value;
    const options = inputs.map(({ label, deviceId }, i) => new Option(label || `Microphone ${i + 1}`, deviceId));
    this.#select.replaceChildren(new Option("System default", ""), ...options);
    if (inputs.some(({ deviceId }) => deviceId === chosen)) this.#select.value = chosen;
  }
}
