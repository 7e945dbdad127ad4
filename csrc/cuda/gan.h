// The GAN family's launches on a GPU.
#pragma once

#include "kernels.h"

namespace genkern::cuda {

Status gan_loss_forward(const GanLossForward& a, const Launch& launch);
Status gan_loss_backward(const GanLossBackward& a, const Launch& launch);
Status interpolate_forward(const InterpolateForward& a, const Launch& launch);
Status interpolate_backward(const InterpolateBackward& a, const Launch& launch);
Status squared_norm(const SquaredNorm& a, const Launch& launch);
Status centered_norm(const CenteredNorm& a, const Launch& launch);
Status norm_backward(const NormBackward& a, const Launch& launch);
Status group_stddev_forward(const GroupStddevForward& a, const Launch& launch);
Status group_stddev_backward(const GroupStddevBackward& a, const Launch& launch);
Status ema_update(const EmaUpdate& a, const Launch& launch);

}  // namespace genkern::cuda
