/** Whether this browser lets pages compute on a graphics card. */
export async function hasGraphicsCard(): Promise<boolean> {
  if (!('gpu' in navigator)) return false;
  const { gpu } = navigator as { gpu: { requestAdapter(): Promise<object | null> } };
  return (await gpu.requestAdapter().catch(() => null)) !== null;
}
