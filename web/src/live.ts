/** Moving pictures: what is found in one frame after the other, as fast as it goes. */
import type { Found } from './shared/found';
import type { Rule } from './shared/messages';
import type { WorkerClient } from './worker_client';

/** Milliseconds over which frames are counted, and for which their text stays. */
const WHILE = 1000;

/** One frame; `rate` is how many there are in a second, `null` until that is known. */
export type Show = (picture: ImageBitmap, found: Found, rate: number | null) => void;

export class Live {
  private video = document.createElement('video');
  /** Of the source that is shown; another one has another number. */
  private number = 0;

  constructor(private worker: WorkerClient) {
    this.video.muted = true;
    this.video.playsInline = true;
  }

  get isRunning(): boolean {
    return this.video.srcObject !== null || this.video.src !== '';
  }

  /** Shows frames until the video ends or `stop` is called. */
  async run(source: MediaStream | File, rule: () => Rule, show: Show): Promise<void> {
    this.stop();
    const { number, video } = this;
    if (source instanceof File) video.src = URL.createObjectURL(source);
    else video.srcObject = source;
    try {
      await video.play();
      let [first, count, rate] = [performance.now(), 0, null as number | null];
      while (this.number === number && !video.ended) {
        const picture = await createImageBitmap(video);
        const found = await this.worker.call('frame', { picture, rule: rule() });
        if (this.number !== number) {
          picture.close();
          return;
        }
        count++;
        const passed = performance.now() - first;
        if (passed > WHILE) {
          rate = (1000 * count) / passed;
          [first, count] = [performance.now(), 0];
        }
        show(picture, found, rate);
        // None while the page is not looked at.
        await new Promise(requestAnimationFrame);
      }
    } catch (error) {
      if (this.number !== number) return;
      throw video.error ? new Error('The browser cannot play this video.') : error;
    } finally {
      if (this.number === number) this.stop();
    }
  }

  /** Lets go of the camera or the file. */
  stop(): void {
    this.number++;
    const { video } = this;
    const { srcObject } = video;
    if (srcObject instanceof MediaStream) srcObject.getTracks().forEach((track) => track.stop());
    if (video.src) URL.revokeObjectURL(video.src);
    video.srcObject = null;
    video.removeAttribute('src');
  }
}

/** The picture of a camera, which the browser asks the user for. */
export async function openCamera(): Promise<MediaStream> {
  try {
    return await navigator.mediaDevices.getUserMedia({ video: true });
  } catch (error) {
    const name = error instanceof DOMException ? error.name : '';
    if (name === 'NotFoundError') throw new Error('There is no camera.');
    if (name === 'NotAllowedError') throw new Error('The browser may not use the camera.');
    throw new Error(`The camera cannot be used: ${error}`);
  }
}
