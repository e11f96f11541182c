/** What was found in an image or a volume. */

/** A connected object; slices are counted from 1. */
export interface FoundObject {
  label: number;
  size: number;
  x: number;
  y: number;
  width: number;
  height: number;
  firstSlice: number;
  lastSlice: number;
  meanProbability: number;
}

export interface Found {
  columns: number;
  rows: number;
  /** `null` of a photograph. */
  slices: number | null;
  /** Millimetres of a pixel's width and height; `null` of a photograph. */
  spacing: [number, number] | null;
  /** Volume of a voxel; `null` of a photograph. */
  voxelMl: number | null;
  classNames: string[];
  /** Pixels or voxels of all objects together; what belongs to several counts once. */
  size: number;
  objects: FoundObject[];
  /** In the order slices, rows, columns. */
  labels: Uint8Array;
}
